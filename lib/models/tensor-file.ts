/** Safetensors files: all tensors in memory, read by parts, written atomically and with a checksum. */
import type { FileHandle } from 'node:fs/promises'
import { open, rename, rm, stat } from 'node:fs/promises'
import { crc32 } from '../checksum.js'
import { AutoprogError, brief } from '../errors.js'
import { fromBfloats, fromHalves } from '../half.js'
import { checkMemory, formatBytes } from '../memory.js'
import { addon } from '../native.js'
import { headerLength, parseHeader } from '../safetensors.js'

/** A tensor of a safetensors file; 16-bit floats are widened. */
export interface StoredTensor {
  readonly shape: readonly number[]
  readonly values: Float32Array | Int32Array | Uint8Array
}

export interface TensorFile {
  readonly tensors: Map<string, StoredTensor>
  readonly metadata: Readonly<Record<string, string>>
  /** Whether the file held a checksum, which was right. */
  readonly checked: boolean
}

const widths = { F32: 4, F16: 2, BF16: 2, I32: 4, U8: 1, I64: 8 } as const
const readTypes = ['F32', 'F16', 'BF16', 'I32', 'U8']

/**
 * Where the checksum stands in a header: CRC-32 of the whole file with zeros in its place, first in the metadata. The format
 * allows no bytes beside header and tensors.
 */
const checksumName = 'autoprog_crc32'
const checksumKey = `"${checksumName}":"`
const unknownChecksum = '00000000'

function invalid(path: string, reason: string, cause?: unknown): AutoprogError {
  return new AutoprogError('CHECKPOINT', `${path} is not a valid safetensors file: ${reason}`, {
    hint: `The file may be cut off, damaged, or of another format. Convert other formats to safetensors with ${readTypes.join(', ')} tensors.`,
    ...(cause === undefined ? {} : { cause }),
  })
}

/**
 * Reads a safetensors file: 8 bytes of header length, a JSON header, then the tensors without gaps or overlaps. Throws
 * CHECKPOINT when the file is missing, cut off or malformed, does not have its own checksum, or holds other types than F32,
 * F16, BF16, I32 and U8, and MEMORY when it does not fit; PyTorch's counters of batches are passed over, since nothing
 * depends on them where batch norm has a momentum.
 */
export async function readTensors(path: string): Promise<TensorFile> {
  const unreadable = (cause: NodeJS.ErrnoException) => {
    throw new AutoprogError('CHECKPOINT', `Cannot read ${path}: ${cause.code ?? cause.message}`, { cause })
  }
  const status = await stat(path).catch(unreadable)
  if (!status.isFile()) throw invalid(path, 'it is not a regular file') // a pipe would wait, a device never end
  const file = await open(path).catch(unreadable)
  try {
    return await readFrom(file, path, status.size)
  } finally {
    await file.close()
  }
}

async function readFrom(file: FileHandle, path: string, size: number): Promise<TensorFile> {
  const fail = (reason: string, cause?: unknown) => invalid(path, reason, cause)
  const start = await readPart(file, path, 0, Math.min(8, size))
  const header = await readPart(file, path, 8, headerLength(start, size, fail))
  const head = parseHeader(header, size, widths, fail)
  const { [checksumName]: stored, ...metadata } = head.metadata
  const places = head.tensors
  const ordered = [...places].sort(([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes)
  let end = 8 + header.length
  for (const [name, { type, offset, bytes }] of ordered) {
    if (type === 'I64' && !name.endsWith('num_batches_tracked'))
      throw invalid(path, `${brief(name)} has type I64, but only ${readTypes.join(', ')} are read`)
    if (offset !== end)
      throw invalid(path, `${brief(name)} ${offset < end ? 'overlaps the tensor before it' : 'leaves a gap before it'}`)
    end += bytes
  }
  if (end !== size) throw invalid(path, `${size - end} bytes belong to no tensor`)
  // 16-bit floats stay beside their widened copies until they are collected.
  const held = ordered.map(([, { type, bytes }]) => (type === 'F16' || type === 'BF16' ? 3 : 1) * bytes)
  const needs = { tensors: held.reduce((sum, bytes) => sum + bytes, 0) }
  checkMemory(`Reading ${path}`, needs, addon().availableMemory(), lessMemory)

  const place = stored === undefined ? -1 : header.indexOf(checksumKey)
  if (place >= 0) header.write(unknownChecksum, place + checksumKey.length)
  let checksum = crc32(header, crc32(start))
  const read = new Map<string, StoredTensor>()
  for (const [name, { type, shape, offset, bytes }] of ordered) {
    const part = await readPart(file, path, offset, bytes)
    checksum = crc32(part, checksum)
    if (type !== 'I64') read.set(name, { shape, values: numbersOf(type, part) })
  }
  if (place >= 0 && hexadecimal(checksum) !== stored)
    throw invalid(path, 'it does not have its own checksum, so it was damaged')
  const tensors = new Map([...places.keys()].flatMap((name) => (read.has(name) ? [[name, read.get(name)!]] : [])))
  return { tensors, metadata, checked: place >= 0 }
}

/** Part of a file, in memory of its own; by several reads where the system gives no more at once (2 GiB on Linux). */
async function readPart(file: FileHandle, path: string, offset: number, length: number): Promise<Buffer> {
  const part = Buffer.from(reserve(path, length))
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(part, done, Math.min(length - done, 2 ** 30), offset + done)
    if (bytesRead === 0) throw invalid(path, 'it has become shorter while it was read')
    done += bytesRead
  }
  return part
}

/** The engine throws a RangeError where it finds no room. */
function reserve(path: string, bytes: number): ArrayBuffer {
  try {
    return new ArrayBuffer(bytes)
  } catch (cause) {
    throw new AutoprogError('MEMORY', `There is no room for ${formatBytes(bytes)} of ${path}`, {
      hint: lessMemory,
      cause,
    })
  }
}

const lessMemory = 'Use a machine or container with more memory, or close what else uses it.'

function numbersOf(type: Exclude<keyof typeof widths, 'I64'>, { buffer }: Buffer): StoredTensor['values'] {
  switch (type) {
    case 'F32':
      return new Float32Array(buffer as ArrayBuffer)
    case 'F16':
      return fromHalves(new Uint16Array(buffer as ArrayBuffer))
    case 'BF16':
      return fromBfloats(new Uint16Array(buffer as ArrayBuffer))
    case 'I32':
      return new Int32Array(buffer as ArrayBuffer)
    case 'U8':
      return new Uint8Array(buffer as ArrayBuffer)
  }
}

const hexadecimal = (checksum: number) => checksum.toString(16).padStart(8, '0')

/**
 * Writes a safetensors file atomically: to a temporary file beside it, fsync, rename. An error leaves what was there.
 * Throws CHECKPOINT when the folder cannot be written.
 */
export async function writeTensors(
  path: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const header: Record<string, unknown> = { __metadata__: { [checksumName]: unknownChecksum, ...metadata } }
  let end = 0
  // Wide types first, so that every tensor is aligned when the file is mapped.
  const ordered = [...tensors].sort(([, a], [, b]) => b.values.BYTES_PER_ELEMENT - a.values.BYTES_PER_ELEMENT)
  for (const [name, { shape, values }] of ordered) {
    const dtype = values instanceof Float32Array ? 'F32' : values instanceof Int32Array ? 'I32' : 'U8'
    header[name] = { dtype, shape, data_offsets: [end, end + values.byteLength] }
    end += values.byteLength
  }
  const text = Buffer.from(JSON.stringify(header))
  const padded = Math.ceil(text.length / 8) * 8
  const head = Buffer.alloc(8 + padded, ' ')
  head.writeBigUInt64LE(BigInt(padded), 0)
  text.copy(head, 8)
  const parts = ordered.map(([, { values }]) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  const checksum = parts.reduce((before, part) => crc32(part, before), crc32(head))
  head.write(hexadecimal(checksum), head.indexOf(checksumKey) + checksumKey.length)
  await writeAtomically(path, [head, ...parts])
}

/** Writes a file whole or not at all, and only returns once it is on the disk. */
async function writeAtomically(path: string, chunks: readonly Uint8Array[]): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`
  try {
    const file = await open(temporary, 'w')
    try {
      for (const chunk of chunks) await file.writeFile(chunk)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined)
    const code = (cause as NodeJS.ErrnoException).code ?? String(cause)
    const reason =
      {
        ENOSPC: 'the disk is full',
        EACCES: 'permission denied',
        EROFS: 'the file system is read-only',
        ENOENT: 'the folder does not exist',
      }[code] ?? code
    throw new AutoprogError('CHECKPOINT', `Cannot write ${path}: ${reason}`, {
      hint:
        code === 'ENOENT'
          ? 'It was removed, or never there: choose another output folder.'
          : 'What was there before is unchanged. Free space, or choose another output folder.',
      cause,
    })
  }
}
