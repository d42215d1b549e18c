/** An uncompressed tar archive laid out as an image folder, or as WebDataset does; images are read in place, nothing is unpacked. */
import { type FileHandle, readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { extract } from 'tar-stream'
import { brokenImage, type Fault } from '../lib/data/image/fault.js'
import { imageEnding } from '../lib/data/image/format.js'
import { tooManyBytes } from '../lib/data/image/limits.js'
import type { Dataset, LoadOptions } from '../lib/data/source/dataset.js'
import { openFile } from '../lib/data/source/files.js'
import { namesBeside } from '../lib/data/source/halves.js'
import { decodeDataset } from '../lib/data/source/image-tree.js'
import { AutoprogError } from '../lib/errors.js'
import { cachedScan, isFault, isListOf, isPairOfTexts, isText } from './scan-cache.js'
import { isClassText, listPairs, type PairedTree } from './webdataset.js'

const blockSize = 512

const linkReason = 'it is a link; pack the file itself'

/**
 * Lists the archive without decoding its images. The test half may be inside (`train/` and `val/`), or beside under the same name with `val` or `test` for `train`.
 * Throws DATA where an archive cannot be read, is truncated, or is not laid out so.
 */
export async function listTar(file: string, options: LoadOptions = {}): Promise<Dataset> {
  const train = await openTar(file, options)
  try {
    const beside = await testArchive(file)
    const test = beside === undefined ? undefined : await openTar(beside, options)
    return await listPairs(basename(file), { train, test }, dirname(file), options)
  } catch (error) {
    await train.close()
    throw error
  }
}

/** The same with its images decoded where they are all alike. Throws DATA also where too many of them are broken. */
export async function loadTar(file: string, options: LoadOptions = {}): Promise<Dataset> {
  return decodeDataset(await listTar(file, options), options)
}

/** `photos-val.tar` or `photos-test.tar` beside `photos-train.tar`, where it is there. */
async function testArchive(file: string): Promise<string | undefined> {
  const candidates = namesBeside(basename(file))
  const beside = candidates.length === 0 ? [] : await readdir(dirname(file)).catch(() => [])
  const found = candidates.flatMap((name) => beside.filter((other) => other.toLowerCase() === name).sort())
  return found[0] && join(dirname(file), found[0])
}

/** Where a member's bytes lie. */
interface Place {
  readonly offset: number
  /** -1 for a member without bytes of its own, such as a link. */
  readonly size: number
}

/** Finds the archive's members. Throws DATA where it cannot be read or is truncated. */
export async function openTar(file: string, options: LoadOptions): Promise<PairedTree> {
  const handle = await openFile(file).catch((cause) => Promise.reject(cannotRead(file, cause)))
  let closing: Promise<void> | undefined
  const close = () => (closing ??= handle.close())
  try {
    const { size: length } = await handle.stat()
    const { paths, offsets, sizes, classTexts, repeated, ...listing } = await cachedScan({
      path: file,
      isFound: isMembers(length),
      scan: () => indexMembers(file, handle, options),
      sourcesOf: () => [file],
    })
    const places = new Map(paths.map((path, index) => [path, { offset: offsets[index]!, size: sizes[index]! }]))
    const read = async (path: string): Promise<Uint8Array> => {
      if (closing !== undefined) throw new AutoprogError('DATA', `${file} is closed`)
      return readMember(handle, `${file}/${path}`, places.get(path)!)
    }
    const sizeOf = (path: string) => places.get(path)!.size
    const files = [...places.keys()]
    return { source: file, files, ...listing, repeated, classTexts: new Map(classTexts), read, sizeOf, close }
  } catch (error) {
    await close()
    throw error
  }
}

interface Members {
  readonly paths: string[]
  readonly offsets: number[]
  /** As in `Place`. */
  readonly sizes: number[]
  readonly folders: string[]
  readonly faults: Fault[]
  readonly classTexts: [path: string, text: string][]
  /** Paths that come more than once: the last of them counts, as where an archive is unpacked. */
  readonly repeated: string[]
}

const isMembers =
  (length: number) =>
  (kept: unknown): kept is Members => {
    if (typeof kept !== 'object' || kept === null) return false
    const { paths, offsets, sizes, folders, faults, classTexts, repeated } = kept as Partial<
      Record<keyof Members, unknown>
    >
    const isSize = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= -1
    return (
      [paths, folders, repeated].every((list) => isListOf(list, isText)) &&
      [offsets, sizes].every((list) => Array.isArray(list) && list.length === (paths as string[]).length) &&
      (offsets as unknown[]).every(isSize) &&
      (sizes as unknown[]).every((size, i) => isSize(size) && (offsets as number[])[i]! + (size as number) <= length) &&
      isListOf(faults, isFault) &&
      isListOf(classTexts, isPairOfTexts)
    )
  }

/** Reads the archive once from end to end and keeps where each file lies. */
async function indexMembers(file: string, handle: FileHandle, { signal, onListing }: LoadOptions): Promise<Members> {
  const paths: string[] = []
  const offsets: number[] = []
  const sizes: number[] = []
  const folders: string[] = []
  const faults: Fault[] = []
  const classTexts: [path: string, text: string][] = []
  let end = 0
  const index = extract()
  index.on('entry', (header, content, next) => {
    const { size, type } = header
    const offset = content.offset + blockSize // the content follows its header
    const path = header.name.replace(/^(\.?\/)+/, '').replace(/\/+$/, '')
    if (!(Number.isSafeInteger(size) && size >= 0)) return void index.destroy(new Error(`${path} claims ${size} bytes`))
    end = offset + Math.ceil(size / blockSize) * blockSize
    if (type === 'directory') folders.push(path)
    // It may stand for a folder of images.
    else if (type === 'symlink' && !imageEnding.test(path))
      faults.push({ name: path, fault: 'link', reason: linkReason })
    else {
      paths.push(path)
      offsets.push(offset)
      sizes.push(type === 'file' || type === 'contiguous-file' ? size : -1)
    }
    if (paths.length % 1000 === 0) onListing?.(paths.length)
    if (isClassText(path)) {
      const entry: [string, string] = [path, '']
      classTexts.push(entry)
      content.on('data', (bytes) => (entry[1] = `${entry[1]}${bytes}`.slice(0, 64)))
    }
    content.on('error', () => {}) // told by the archive's stream
    // Nothing is ever read of a folder, whatever size it claims.
    if (type === 'directory') next()
    else content.on('end', next).resume()
  })
  try {
    const bytes = handle.createReadStream({ autoClose: false, start: 0, highWaterMark: 2 ** 16 })
    await pipeline(bytes, index, { signal })
  } catch (cause) {
    signal?.throwIfAborted()
    throw cannotRead(file, cause as Error)
  }
  // Cut off between two members an archive still parses; only the empty block after the last one tells.
  const { size } = await handle.stat()
  if (size < end + blockSize) throw cannotRead(file, new Error('it is truncated: the end-of-archive mark is missing'))
  const seen = new Set<string>()
  const repeated = paths.filter((path) => seen.size === seen.add(path).size)
  return { paths, offsets, sizes, folders: folders.filter((path) => path !== ''), faults, classTexts, repeated }
}

async function readMember(handle: FileHandle, name: string, place: Place): Promise<Uint8Array> {
  if (place.size === -1) throw brokenImage(name, 'link', linkReason)
  const large = tooManyBytes(name, place.size)
  if (large !== undefined) throw large
  const bytes = Buffer.allocUnsafe(place.size)
  const { bytesRead } = await handle
    .read(bytes, 0, place.size, place.offset)
    .catch((cause) => Promise.reject(brokenImage(name, 'unreadable', cause)))
  if (bytesRead < place.size) throw brokenImage(name, 'unreadable', 'the archive has become shorter')
  return bytes
}

function cannotRead(file: string, cause: Error): AutoprogError {
  const hint = 'give an uncompressed .tar (gunzip a .tar.gz first), or a folder'
  return new AutoprogError('DATA', `Cannot read ${file} as a tar archive: ${cause.message}`, { hint, cause })
}
