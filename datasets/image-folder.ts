/** A folder of class folders of images: `CLASS/…`, or `train/CLASS/…` and `val/CLASS/…` (or `test`), at any depth inside a class. */
import type { Dirent } from 'node:fs'
import { readdir, readlink, realpath, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { brokenImage, type Fault, type ImageFault } from '../lib/data/image/fault.js'
import { imageEnding } from '../lib/data/image/format.js'
import type { Dataset, LoadOptions } from '../lib/data/source/dataset.js'
import { readImageFile } from '../lib/data/source/files.js'
import { decodeDataset, type ImageTree, listTrees } from '../lib/data/source/image-tree.js'
import { AutoprogError } from '../lib/errors.js'
import { cachedScan, isFault, isListOf, isPairOfTexts, isPathBelow } from './scan-cache.js'

/** Lists the folder without reading its images. Throws DATA where it cannot be read or is not laid out so. */
export async function listImageFolder(folder: string, options: LoadOptions = {}): Promise<Dataset> {
  return listTrees(basename(folder) || folder, { train: await openFolder(folder, options) }, options)
}

/** All files below the folder. Throws DATA where it cannot be read. */
export async function openFolder(folder: string, options: LoadOptions = {}): Promise<ImageTree> {
  const { files, folders, faults, ...found } = await cachedScan({
    path: folder,
    scan: () => listTree(folder, options),
    isFound: isTree,
    // A link that leads nowhere is there too: it cannot be looked at, so that such a tree is listed anew each time.
    sourcesOf: (tree) =>
      ['', ...tree.folders, ...tree.broken.map(({ name }) => name), ...tree.faults.map(({ name }) => name)].map(
        placesIn(folder, tree),
      ),
  })
  const placeOf = placesIn(folder, found)
  const broken = new Map(found.broken.map((fault) => [fault.name, fault]))
  const read = async (path: string): Promise<Uint8Array> => {
    const name = join(folder, path)
    const fault = broken.get(path)
    if (fault !== undefined) throw brokenImage(name, fault.fault, fault.reason)
    return readImageFile(name, placeOf(path))
  }
  const fileOf = (path: string) => {
    const place = placeOf(path)
    return broken.has(path) || typeof place !== 'string' ? undefined : place
  }
  const sizeOf = async (path: string) => (await stat(placeOf(path))).size
  return { source: folder, files, folders, faults, read, fileOf, sizeOf, async close() {} }
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
  /** Paths that are not UTF-8: as they are shown, and their bytes in hexadecimal digits. */
  readonly bytes: [path: string, bytes: string][]
}

function isTree(kept: unknown): kept is Tree {
  if (typeof kept !== 'object' || kept === null) return false
  const { files, folders, faults, broken, bytes } = kept as Partial<Record<keyof Tree, unknown>>
  return (
    [files, folders].every((paths) => isListOf(paths, isPathBelow)) &&
    [faults, broken].every((list) => isListOf(list, isFault) && list.every(({ name }) => isPathBelow(name))) &&
    isListOf(bytes, isPairOfTexts) &&
    bytes.every(([, digits]) => isPathBelow(Buffer.from(digits, 'hex').toString('latin1')))
  )
}

/** Where the file system has what a tree lists. */
function placesIn(folder: string, { bytes }: Pick<Tree, 'bytes'>): (path: string) => string | Buffer {
  const known = new Map(bytes)
  return (path) => {
    const own = known.get(path)
    return own === undefined ? join(folder, path) : Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(own, 'hex')])
  }
}

/** Everything below the folder, links followed; what cannot be listed becomes a fault, so that the rest is still found. */
async function listTree(root: string, { signal, onListing }: LoadOptions): Promise<Tree> {
  const tree: Tree = { files: [], folders: [], faults: [], broken: [], bytes: [] }
  const real = await realpath(root).catch((cause) => Promise.reject(cannotRead(root, cause)))
  await walk({ shown: '', place: `${root}/` }, [real], (cause) => Promise.reject(cannotRead(root, cause)))
  return tree

  /** `linked`: the real paths of the root and of the linked folders that lead here, so that links in a circle end. */
  async function walk(prefix: Path, linked: readonly string[], fail: (cause: Error) => void): Promise<void> {
    signal?.throwIfAborted()
    onListing?.(tree.files.length)
    const entries = await entriesOf(prefix.place).catch(fail)
    for (const entry of entries ?? []) {
      const path = `${prefix.shown}${entry.shown}`
      const place = below(prefix.place, entry.name)
      if (typeof place !== 'string')
        tree.bytes.push([path, place.subarray(Buffer.byteLength(`${root}/`)).toString('hex')])
      const isLink = entry.isSymbolicLink()
      const kind = isLink ? await stat(place).catch((cause: NodeJS.ErrnoException) => cause) : entry
      if (kind instanceof Error) await addBrokenLink(path, place, kind)
      else if (kind.isDirectory()) {
        tree.folders.push(path)
        const unlisted = ({ message }: Error) => {
          tree.faults.push({ name: path, fault: 'unreadable', reason: `the folder cannot be read: ${message}` })
        }
        const target = isLink ? await realpath(place).catch(unlisted) : undefined
        const inside = { shown: `${path}/`, place: below(place, '/') }
        if (!isLink) await walk(inside, linked, unlisted)
        else if (target && !linked.includes(target)) await walk(inside, [...linked, target], unlisted)
      } else if (kind.isFile()) tree.files.push(path)
      else addBroken(path, 'unreadable', 'it is neither a file nor a folder') // reading a pipe would wait for ever
    }
  }

  async function addBrokenLink(path: string, place: string | Buffer, cause: NodeJS.ErrnoException): Promise<void> {
    const target = await readlink(place).catch(() => 'somewhere')
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

interface Path {
  /** From the root, for a human. */
  readonly shown: string
  /** Bytes where it is not UTF-8. */
  readonly place: string | Buffer
}

/** What a folder holds, with names as bytes where one of them is not UTF-8. */
async function entriesOf(folder: string | Buffer): Promise<(Dirent<string | Buffer> & { readonly shown: string })[]> {
  const entries = await readdir(folder, { withFileTypes: true })
  if (!entries.some(({ name }) => name.includes('\ufffd'))) {
    return entries.map((entry) => Object.assign(entry, { shown: entry.name }))
  }
  const inBytes = await readdir(folder, { withFileTypes: true, encoding: 'buffer' })
  return inBytes.map((entry) => {
    const text = entry.name.toString()
    const isText = Buffer.from(text).equals(entry.name)
    const name = isText ? text : entry.name
    const escaped = (byte: string) => `\\x${byte.charCodeAt(0).toString(16)}`
    const shown = isText ? text : entry.name.toString('latin1').replace(/[\x80-\xff]/g, escaped)
    return Object.assign(entry as Dirent<string | Buffer>, { name, shown })
  })
}

function below(place: string | Buffer, name: string | Buffer): string | Buffer {
  if (typeof place === 'string' && typeof name === 'string') return `${place}${name}`
  return Buffer.concat([Buffer.from(place), Buffer.from(name)])
}

function cannotRead(folder: string, cause: Error): AutoprogError {
  const hint = 'check that the folder is there and that you may read it'
  return new AutoprogError('DATA', `Cannot read the folder ${folder}: ${cause.message}`, { hint, cause })
}
