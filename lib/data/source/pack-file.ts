/**
 * A packed dataset: one file with the images of both halves and an index of them. All numbers are little-endian.
 *
 *    0  "autoprog"
 *    8  version of the format (32 bits), CRC-32 of the index (32 bits)
 *   16  where the index begins (64 bits), and its length (64 bits)
 *   32  the images, one after another
 *    …  the index: length of a JSON document (32 bits), the document, spaces to a multiple of 8; then for the training and for the
 *       test half the columns of `PackedHalf` in its order, the names as one text, zeros to a multiple of 8
 *
 * A million entries open in a fraction of a second, since the columns are views of the index as it was read.
 */
import { constants } from 'node:buffer'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { crc32 } from '../../checksum.js'
import { AutoprogError } from '../../errors.js'

const magic = 'autoprog'
const version = 1
const headerBytes = 32

/** A value for each image of a half. */
export interface Columns {
  /** Where its bytes begin in the file. */
  readonly offsets: Float64Array
  readonly lengths: Uint32Array
  /** CRC-32 of its bytes. */
  readonly checksums: Uint32Array
  /** Class index. */
  readonly labels: Int32Array
  readonly heights: Uint32Array
  readonly widths: Uint32Array
}

export interface PackedHalf extends Columns {
  nameOf(index: number): string
}

export interface PackContents {
  readonly name: string
  readonly classes: readonly string[]
  readonly channels: 1 | 3
  /** Whether the bytes of an image are a JPEG file or its pixels (H, W, C). */
  readonly encoding: 'jpeg' | 'raw'
  /** Settings that the images were made with, for a human. */
  readonly settings: string
  readonly notices: readonly string[]
  readonly train: PackedHalf
  readonly test: PackedHalf
}

type Document = Omit<PackContents, 'train' | 'test'> & { readonly lengths: { train: number; test: number } }

/** Zeros, for `length` images. */
export function createColumns(length: number) {
  return {
    offsets: new Float64Array(length),
    lengths: new Uint32Array(length),
    checksums: new Uint32Array(length),
    labels: new Int32Array(length),
    heights: new Uint32Array(length),
    widths: new Uint32Array(length),
  } satisfies Columns
}

/**
 * Writes a pack: `fill` appends the bytes of images, being told where they lie, and gives the index. The file appears under its
 * name once it is whole. Throws DATA where it cannot be written.
 */
export async function writePack(
  file: string,
  fill: (append: (bytes: Uint8Array) => Promise<number>) => Promise<PackContents>,
): Promise<{ bytes: number }> {
  const temporary = `${file}.${process.pid}.tmp`
  const writing = <T>(work: Promise<T>) => work.catch((cause) => Promise.reject(cannotWrite(file, cause)))
  const handle = await writing(open(temporary, 'w'))
  try {
    let end = headerBytes
    const append = async (bytes: Uint8Array) => {
      const offset = end
      end += bytes.length
      await writing(writeAll(handle, bytes, offset))
      return offset
    }
    const index = encodeIndex(await fill(append))
    const header = Buffer.alloc(headerBytes)
    header.write(magic, 'latin1')
    header.writeUInt32LE(version, 8)
    header.writeUInt32LE(crc32(index), 12)
    header.writeBigUInt64LE(BigInt(await append(index)), 16)
    header.writeBigUInt64LE(BigInt(index.length), 24)
    await writing(writeAll(handle, header, 0))
    await writing(handle.sync())
    await handle.close()
    await writing(rename(temporary, file))
    return { bytes: end }
  } catch (error) {
    await handle.close().catch(() => {})
    await rm(temporary, { force: true })
    throw error
  }
}

/** Reads the header and the index. Throws DATA where the file is no pack, of another version, cut off or damaged in either. */
export async function readContents(file: string, handle: FileHandle): Promise<PackContents> {
  const wrong = (reason: string, hint = 'copy it anew, or make it again with autoprog pack') =>
    new AutoprogError('DATA', `${file} ${reason}`, { hint })
  const { size } = await handle.stat()
  const header = await readBytes(handle, 0, Math.min(size, headerBytes))
  if (header.length < headerBytes || header.toString('latin1', 0, 8) !== magic) {
    throw wrong('is not a packed dataset', `autoprog pack DATA ${file} --force makes one`)
  }
  const found = header.readUInt32LE(8)
  if (found !== version) {
    throw wrong(`is a packed dataset of version ${found}, not ${version}`, 'make it again with autoprog pack')
  }
  const [offset, length] = [Number(header.readBigUInt64LE(16)), Number(header.readBigUInt64LE(24))]
  if (size < offset + length) throw wrong(`is cut off: ${size} bytes where ${offset + length} are due`)
  if (length > constants.MAX_LENGTH) throw wrong(`has an index of ${length} bytes, more than fit in memory`)
  const index = size === offset + length ? await readBytes(handle, offset, length) : Buffer.alloc(0)
  if (index.length !== length || crc32(index) !== header.readUInt32LE(12)) throw wrong('has a damaged index')
  try {
    return decodeIndex(index, offset)
  } catch (cause) {
    throw wrong(`has an index that makes no sense: ${(cause as Error).message}`)
  }
}

/** Reads up to `length` bytes; fewer only at the file's end. */
export async function readBytes(handle: FileHandle, offset: number, length: number): Promise<Buffer> {
  const bytes = Buffer.from(new ArrayBuffer(length)) // not of Node's pool: columns are views of it
  let done = 0
  while (done < length) {
    // One call reads less than 2 GiB.
    const { bytesRead } = await handle.read(bytes, done, Math.min(length - done, 2 ** 30), offset + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return bytes.subarray(0, done)
}

/** Writes all bytes at a place. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await handle.write(bytes, done, Math.min(bytes.length - done, 2 ** 30), offset + done)).bytesWritten
  }
}

const padding = (length: number) => (8 - (length % 8)) % 8

function encodeIndex({ train, test, ...rest }: PackContents): Buffer {
  const document: Document = { ...rest, lengths: { train: train.labels.length, test: test.labels.length } }
  const json = Buffer.from(JSON.stringify(document))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(json.length)
  const parts: Uint8Array[] = [length, json, Buffer.alloc(padding(4 + json.length), ' ')]
  for (const { nameOf, ...columns } of [train, test]) {
    const names = Array.from(columns.labels, (_, index) => Buffer.from(nameOf(index)))
    const ends = new Uint32Array(names.length)
    names.reduce((end, name, index) => (ends[index] = end + name.length), 0)
    const { offsets, lengths, checksums, labels, heights, widths } = columns
    for (const column of [offsets, lengths, checksums, labels, heights, widths, ends]) {
      parts.push(Buffer.from(column.buffer, column.byteOffset, column.byteLength))
    }
    const text = Buffer.concat(names)
    parts.push(text, Buffer.alloc(padding(text.length))) // the columns above take 32 bytes an image
  }
  return Buffer.concat(parts)
}

/** Throws Error where the index cannot be one of images that lie before `end` in the file. */
function decodeIndex(index: Buffer, end: number): PackContents {
  const jsonLength = index.length < 4 ? 0 : index.readUInt32LE(0)
  const { lengths, ...rest } = checkDocument(JSON.parse(index.toString('utf8', 4, 4 + jsonLength)))
  let at = 4 + jsonLength + padding(4 + jsonLength)
  const take = <T>(
    View: new (buffer: ArrayBufferLike, offset: number, length: number) => T,
    bytes: number,
    length: number,
  ) => {
    if (at + bytes * length > index.length) throw new Error('its columns are longer than the index')
    const view = new View(index.buffer, index.byteOffset + at, length)
    at += bytes * length
    return view
  }
  const half = (length: number): PackedHalf => {
    const columns: Columns = {
      offsets: take(Float64Array, 8, length),
      lengths: take(Uint32Array, 4, length),
      checksums: take(Uint32Array, 4, length),
      labels: take(Int32Array, 4, length),
      heights: take(Uint32Array, 4, length),
      widths: take(Uint32Array, 4, length),
    }
    checkColumns(columns, rest, end)
    const ends = take(Uint32Array, 4, length)
    if (!ends.every((place, image) => place >= (image === 0 ? 0 : ends[image - 1]!)))
      throw new Error('its names overlap')
    const text = take(Uint8Array, 1, ends.at(-1) ?? 0)
    at += padding(text.length)
    const names = Buffer.from(text.buffer, text.byteOffset, text.length)
    return { ...columns, nameOf: (image) => names.toString('utf8', image === 0 ? 0 : ends[image - 1]!, ends[image]!) }
  }
  const classes = rest.classes.map((name) => name.normalize())
  return { ...rest, classes, train: half(lengths.train), test: half(lengths.test) }
}

const isText = (value: unknown): value is string => typeof value === 'string'
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

function checkDocument(document: unknown): Document {
  const { name, classes, channels, encoding, settings, notices, lengths } = Object(document) as Partial<
    Record<keyof Document, unknown>
  >
  const { train, test } = Object(lengths) as Partial<Record<'train' | 'test', unknown>>
  const isKnown =
    [name, settings].every(isText) &&
    [classes, notices].every((list) => Array.isArray(list) && list.every(isText)) &&
    (channels === 1 || channels === 3) &&
    (encoding === 'jpeg' || encoding === 'raw') &&
    [train, test].every(isCount)
  if (!isKnown) throw new Error('what describes it lacks values or has wrong ones')
  return document as Document
}

function checkColumns(
  { offsets, lengths, labels, heights, widths }: Columns,
  { classes, channels, encoding }: Omit<Document, 'lengths'>,
  end: number,
): void {
  const wrong = labels.findIndex((label, image) => {
    const [offset, length] = [offsets[image]!, lengths[image]!]
    const isInside = isCount(offset) && offset >= headerBytes && offset + length <= end
    const isSized = encoding === 'jpeg' || (length > 0 && length === heights[image]! * widths[image]! * channels)
    return !(label >= 0 && label < classes.length && isInside && isSized)
  })
  if (wrong >= 0) throw new Error(`image ${wrong} of a half has a class, a place or a size that cannot be`)
}

function cannotWrite(file: string, cause: Error): AutoprogError {
  const hint = 'check that the folder is there, that you may write to it, and that the disk has room'
  return new AutoprogError('DATA', `Cannot write ${file}: ${cause.message}`, { hint, cause })
}
