import { open, readFile, rename, rm } from 'node:fs/promises'
import { AutoprogError } from '../errors.js'
import { sizeOf } from '../graph/tensor.js'
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

const types = { F32: Float32Array, I32: Int32Array, U8: Uint8Array } as const
const maximumHeader = 100_000_000 // the format's own limit

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
  if (file.length < 8) throw invalid(path, `it has ${file.length} bytes`)
  const length = Number(file.readBigUInt64LE(0))
  if (length > maximumHeader || 8 + length > file.length)
    throw invalid(path, `its header claims ${length} bytes of ${file.length}`)
  const header = parseHeader(path, file.toString('utf8', 8, 8 + length))
  const data = file.subarray(8 + length)
  const tensors = new Map<string, StoredTensor>()
  const parts: [number, number, string][] = []
  let metadata: Record<string, string> = {}
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') {
      metadata = Object.fromEntries(Object.entries(entry).map(([key, value]) => [key, String(value)]))
      continue
    }
    const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>
    const [from, to] = checkEntry(path, name, dtype, shape, offsets, data.length)
    parts.push([from, to, name])
    if (dtype === 'I64') continue
    const Values = types[dtype as keyof typeof types]
    const bytes = new Uint8Array(to - from)
    bytes.set(data.subarray(from, to))
    tensors.set(name, { shape: shape as number[], values: new Values(bytes.buffer) })
  }
  parts.sort((a, b) => a[0] - b[0] || a[1] - b[1])
  let end = 0
  for (const [from, to, name] of parts) {
    if (from !== end)
      throw invalid(path, `${name} ${from < end ? 'overlaps the tensor before it' : 'leaves a gap before it'}`)
    end = to
  }
  if (end !== data.length) throw invalid(path, `${data.length - end} bytes belong to no tensor`)
  return { tensors, metadata }
}

function parseHeader(path: string, text: string): Record<string, object> {
  let header: unknown
  try {
    header = JSON.parse(text)
  } catch (cause) {
    throw invalid(path, 'its header is not JSON', cause)
  }
  if (
    typeof header !== 'object' ||
    header === null ||
    Array.isArray(header) ||
    Object.values(header).some((entry) => typeof entry !== 'object' || entry === null)
  )
    throw invalid(path, 'its header is not an object of tensors')
  return header as Record<string, object>
}

function checkEntry(
  path: string,
  name: string,
  dtype: unknown,
  shape: unknown,
  offsets: unknown,
  available: number,
): [number, number] {
  const bytesEach =
    dtype === 'I64' && name.endsWith('num_batches_tracked')
      ? 8
      : typeof dtype === 'string' && Object.hasOwn(types, dtype)
        ? types[dtype as keyof typeof types].BYTES_PER_ELEMENT
        : undefined
  if (bytesEach === undefined)
    throw invalid(path, `${name} has type ${String(dtype)}, but only ${Object.keys(types).join(', ')} are read`)
  const natural = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
  if (!Array.isArray(shape) || !shape.every(natural)) throw invalid(path, `${name} has no proper shape`)
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(natural))
    throw invalid(path, `${name} has no proper offsets`)
  const [from, to] = offsets as [number, number]
  const bytes = sizeOf(shape) * bytesEach
  if (to > available || from > to) throw invalid(path, `${name} lies at bytes ${from} to ${to} of ${available}`)
  if (to - from !== bytes)
    throw invalid(path, `${name} of shape [${shape.join(', ')}] should have ${bytes} bytes but has ${to - from}`)
  return [from, to]
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
