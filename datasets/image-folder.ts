/** A folder of class folders of images: `CLASS/…`, or `train/CLASS/…` and `val/CLASS/…` (or `test`), at any depth inside a class. */
import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Dataset, LoadOptions } from '../lib/data/dataset.js'
import { brokenImage } from '../lib/data/decode.js'
import { type ImageTree, treeDataset } from '../lib/data/image-tree.js'
import { AutoprogError } from '../lib/errors.js'
import { cachedScan } from './scan-cache.js'

/** Throws DATA where the folder cannot be read or is not laid out so, or where too many of its images are broken. */
export async function loadImageFolder(folder: string, options: LoadOptions = {}): Promise<Dataset> {
  const { files, folders } = await cachedScan({
    path: folder,
    scan: () => listTree(folder, options),
    sourcesOf: (found) => ['', ...found.folders].map((path) => join(folder, path)),
  })
  const tree: ImageTree = {
    source: folder,
    files,
    folders,
    read: (path) =>
      readFile(join(folder, path)).catch((cause) => Promise.reject(brokenImage(join(folder, path), cause))),
    async close() {},
  }
  return treeDataset(basename(folder) || folder, { train: tree }, options)
}

async function listTree(folder: string, { signal, onListing }: LoadOptions) {
  const files: string[] = []
  const folders: string[] = []
  await walk(folder, '', [await resolveFolder(folder)])
  return { files, folders }

  /** `linked`: the real paths of the root and of the linked folders that lead here, so that links in a circle end. */
  async function walk(root: string, prefix: string, linked: readonly string[]): Promise<void> {
    signal?.throwIfAborted()
    onListing?.(files.length)
    for (const entry of await list(join(root, prefix.slice(0, -1)))) {
      const path = `${prefix}${entry.name}`
      const kind = entry.isSymbolicLink() ? await stat(join(root, path)).catch(() => undefined) : entry
      if (kind?.isDirectory() !== true) {
        files.push(path)
        continue
      }
      folders.push(path)
      if (!entry.isSymbolicLink()) await walk(root, `${path}/`, linked)
      else {
        const real = await realpath(join(root, path))
        if (!linked.includes(real)) await walk(root, `${path}/`, [...linked, real])
      }
    }
  }
}

async function resolveFolder(folder: string): Promise<string> {
  return realpath(folder).catch((cause) => Promise.reject(cannotRead(folder, cause)))
}

async function list(folder: string) {
  return readdir(folder, { withFileTypes: true }).catch((cause) => Promise.reject(cannotRead(folder, cause)))
}

function cannotRead(folder: string, cause: Error): AutoprogError {
  const hint = 'check that the folder is there and that you may read it'
  return new AutoprogError('DATA', `Cannot read the folder ${folder}: ${cause.message}`, { hint, cause })
}
