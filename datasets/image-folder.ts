/** A folder of class folders of images: `CLASS/…`, or `train/CLASS/…` and `val/CLASS/…` (or `test`), at any depth inside a class. */
import { readdir, readFile, readlink, realpath, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { imageEnding } from '../lib/data/image/decode.js'
import { brokenImage, type Fault, type ImageFault } from '../lib/data/image/fault.js'
import type { Dataset, LoadOptions } from '../lib/data/source/dataset.js'
import { decodeDataset, listTrees } from '../lib/data/source/image-tree.js'
import { AutoprogError } from '../lib/errors.js'
import { cachedScan } from './scan-cache.js'

/** Lists the folder without reading its images. Throws DATA where it cannot be read or is not laid out so. */
export async function listImageFolder(folder: string, options: LoadOptions = {}): Promise<Dataset> {
  const { files, folders, faults, ...found } = await cachedScan({
    path: folder,
    scan: () => listTree(folder, options),
    // A link that leads nowhere is there too: it cannot be looked at, so that such a tree is listed anew each time.
    sourcesOf: (tree) =>
      ['', ...tree.folders, ...tree.broken.map(({ name }) => name), ...tree.faults.map(({ name }) => name)].map(
        (path) => join(folder, path),
      ),
  })
  const broken = new Map(found.broken.map((fault) => [fault.name, fault]))
  const read = async (path: string): Promise<Uint8Array> => {
    const name = join(folder, path)
    const fault = broken.get(path)
    if (fault !== undefined) throw brokenImage(name, fault.fault, fault.reason)
    return readFile(name).catch((cause) => Promise.reject(brokenImage(name, 'unreadable', cause)))
  }
  const fileOf = (path: string) => (broken.has(path) ? undefined : join(folder, path))
  const sizeOf = async (path: string) => (await stat(join(folder, path))).size
  const train = { source: folder, files, folders, faults, read, fileOf, sizeOf, async close() {} }
  return listTrees(basename(folder) || folder, { train }, options)
}

/** The same with its images decoded where they are all alike. Throws DATA also where too many of them are broken. */
export async function loadImageFolder(folder: string, options: LoadOptions = {}): Promise<Dataset> {
  return decodeDataset(await listImageFolder(folder, options), options)
}

interface Tree {
  readonly files: string[]
  readonly folders: string[]
  readonly faults: Fault[]
  /** Files named like images of which the listing shows already that they are none. */
  readonly broken: Fault[]
}

/** Everything below the folder, links followed; what cannot be listed becomes a fault, so that the rest is still found. */
async function listTree(root: string, { signal, onListing }: LoadOptions): Promise<Tree> {
  const tree: Tree = { files: [], folders: [], faults: [], broken: [] }
  const real = await realpath(root).catch((cause) => Promise.reject(cannotRead(root, cause)))
  await walk('', [real], (cause) => Promise.reject(cannotRead(root, cause)))
  return tree

  /** `linked`: the real paths of the root and of the linked folders that lead here, so that links in a circle end. */
  async function walk(prefix: string, linked: readonly string[], fail: (cause: Error) => void): Promise<void> {
    signal?.throwIfAborted()
    onListing?.(tree.files.length)
    const entries = await readdir(join(root, prefix), { withFileTypes: true }).catch(fail)
    for (const entry of entries ?? []) {
      const path = `${prefix}${entry.name}`
      const place = join(root, path)
      const isLink = entry.isSymbolicLink()
      const kind = isLink ? await stat(place).catch((cause: NodeJS.ErrnoException) => cause) : entry
      if (kind instanceof Error) await addBrokenLink(path, kind)
      else if (kind.isDirectory()) {
        tree.folders.push(path)
        const unlisted = ({ message }: Error) => {
          tree.faults.push({ name: path, fault: 'unreadable', reason: `the folder cannot be read: ${message}` })
        }
        const target = isLink ? await realpath(place).catch(unlisted) : undefined
        if (!isLink) await walk(`${path}/`, linked, unlisted)
        else if (target && !linked.includes(target)) await walk(`${path}/`, [...linked, target], unlisted)
      } else if (kind.isFile()) tree.files.push(path)
      else addBroken(path, 'unreadable', 'it is neither a file nor a folder') // reading a pipe would wait for ever
    }
  }

  async function addBrokenLink(path: string, cause: NodeJS.ErrnoException): Promise<void> {
    const target = await readlink(join(root, path)).catch(() => 'somewhere')
    if (cause.code === 'ENOENT') addBroken(path, 'link', `it is a link to ${target}, which is not there`)
    else addBroken(path, cause.code === 'ELOOP' ? 'link' : 'unreadable', `it is a link to ${target}: ${cause.message}`)
  }

  /** What is named like an image counts as a broken one. */
  function addBroken(name: string, fault: ImageFault, reason: string): void {
    const found = { name, fault, reason }
    if (!imageEnding.test(name)) tree.faults.push(found)
    else {
      tree.files.push(name)
      tree.broken.push(found)
    }
  }
}

function cannotRead(folder: string, cause: Error): AutoprogError {
  const hint = 'check that the folder is there and that you may read it'
  return new AutoprogError('DATA', `Cannot read the folder ${folder}: ${cause.message}`, { hint, cause })
}
