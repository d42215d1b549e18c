import { open, readFile, rename, rm } from 'node:fs/promises'
import { AutoprogError } from '../errors.js'
import { headerLength, parseHeader } from '../safetensors.js'
import type { Model } from './model.js'

/** A tensor of a safetensors file. */
export interface StoredTensor {
  readonly shape: readonly number[]
  readonly values: Float32Array | Int32Array | Uint8Array
}

export interface TensorFile {
  readonly tensors: Map<string, StoredTensor>
  readonly metadata: Readonly<Record<string, string>>
}

const arrays = { F32: Float32Array, I32: Int32Array, U8: Uint8Array } as const
const widths = { F32: 4, I32: 4, U8: 1, I64: 8 } as const

function invalid(path: string, reason: string, cause?: unknown): AutoprogError {
  return new AutoprogError('CHECKPOINT', `${path} is not a valid safetensors file: ${reason}`, {
    hint: 'The file may be cut off, or of another format. Convert other formats to safetensors with f32, i32 or u8 tensors.',
    ...(cause === undefined ? {} : { cause }),
  })
}

/**
 * Reads a safetensors file: 8 bytes of header length, a JSON header, then the tensors without gaps or overlaps. Throws
 * CHECKPOINT when the file is missing, cut off or malformed, or holds other types than F32, I32 and U8; PyTorch's counters of
 * batches are passed over, since nothing depends on them where batch norm has a momentum.
 */
export async function readTensors(path: string): Promise<TensorFile> {
  const file = await readFile(path).catch((cause: NodeJS.ErrnoException) => {
    throw new AutoprogError('CHECKPOINT', `Cannot read ${path}: ${cause.code ?? cause.message}`, { cause })
  })
  const fail = (reason: string, cause?: unknown) => invalid(path, reason, cause)
  const length = headerLength(file.subarray(0, 8), file.length, fail)
  const { tensors: places, metadata } = parseHeader(file.subarray(8, 8 + length), file.length, widths, fail)
  const tensors = new Map<string, StoredTensor>()
  for (const [name, { type, shape, offset, bytes }] of places) {
    if (type !== 'I64') {
      const { buffer } = new Uint8Array(file.subarray(offset, offset + bytes)) // a copy, aligned
      tensors.set(name, { shape, values: new arrays[type](buffer) })
    } else if (!name.endsWith('num_batches_tracked'))
      throw invalid(path, `${name} has type I64, but only ${Object.keys(arrays).join(', ')} are read`)
  }
  let end = 8 + length
  const ordered = [...places].sort(([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes)
  for (const [name, { offset, bytes }] of ordered) {
    if (offset !== end)
      throw invalid(path, `${name} ${offset < end ? 'overlaps the tensor before it' : 'leaves a gap before it'}`)
    end += bytes
  }
  if (end !== file.length) throw invalid(path, `${file.length - end} bytes belong to no tensor`)
  return { tensors, metadata }
}

/**
 * Writes a safetensors file atomically: to a temporary file beside it, fsync, rename. An error leaves what was there.
 * Throws CHECKPOINT when the folder cannot be written.
 */
export async function writeTensors(
  path: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const header: Record<string, unknown> = Object.keys(metadata).length > 0 ? { __metadata__: metadata } : {}
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
  const chunks = [
    head,
    ...ordered.map(([, { values }]) => Buffer.from(values.buffer, values.byteOffset, values.byteLength)),
  ]
  await writeAtomically(path, chunks)
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
      hint: 'What was there before is unchanged. Free space, or choose another output folder.',
      cause,
    })
  }
}

/** The weights of a file as the model wants them. Throws one CHECKPOINT error that lists every mismatch. */
export function matchWeights(path: string, { tensors }: TensorFile, model: Model): Map<string, Float32Array> {
  const problems: string[] = []
  const weights = new Map<string, Float32Array>()
  for (const { name, shape } of model.parameters) {
    const stored = tensors.get(name)
    if (stored === undefined) problems.push(`${name} is missing`)
    else if (!(stored.values instanceof Float32Array)) problems.push(`${name} is not F32`)
    else if (stored.shape.join() !== shape.join())
      problems.push(`${name} has shape [${stored.shape.join(', ')}] instead of [${shape.join(', ')}]`)
    else weights.set(name, stored.values)
  }
  const known = new Set(model.parameters.map(({ name }) => name))
  for (const name of tensors.keys()) if (!known.has(name)) problems.push(`${name} is not a parameter of the model`)
  if (problems.length > 0)
    throw new AutoprogError('CHECKPOINT', `${path} does not fit ${model.name}:\n  ${problems.join('\n  ')}`, {
      hint: 'Create the model with the numbers (depth, width, classes, image size) that the file was saved with.',
    })
  return weights
}
