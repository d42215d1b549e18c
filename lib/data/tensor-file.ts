/** Safetensors files too large to be read whole: where their tensors lie, and what the bytes of a part of one mean. */
import type { FileHandle } from 'node:fs/promises'
import { AutoprogError } from '../errors.js'
import { fromHalves } from './half.js'
import { readBytes } from './pack-file.js'

/** A tensor in a file. */
export interface StoredTensor {
  readonly type: NumberType
  readonly shape: readonly number[]
  /** First byte within the file. */
  readonly offset: number
  readonly bytes: number
}

export interface TensorHeader {
  readonly text: string
  readonly tensors: ReadonlyMap<string, StoredTensor>
  readonly metadata: Readonly<Record<string, string>>
}

const widths = { F32: 4, F16: 2, I64: 8, I32: 4, I16: 2, U8: 1 } as const
export type NumberType = keyof typeof widths
const types = Object.keys(widths) as readonly NumberType[]

export const bytesOfType = (type: NumberType): number => widths[type]

const longestHeader = 100_000_000 // the format's own limit

/** Throws DATA unless it is a safetensors file, whole, of numbers that we know. */
export async function readTensorHeader(path: string, handle: FileHandle): Promise<TensorHeader> {
  const { size } = await handle.stat()
  const length = size < 8 ? 0 : Number((await readBytes(handle, 0, 8)).readBigUInt64LE(0))
  if (length < 2 || length > longestHeader || 8 + length > size) throw invalid(path, 'it has no header')
  const text = (await readBytes(handle, 8, length)).toString('utf8')
  let header: unknown
  try {
    header = JSON.parse(text)
  } catch (cause) {
    throw invalid(path, 'its header is not JSON', cause)
  }
  if (!isMapping(header)) throw invalid(path, 'its header is not a mapping of tensors')
  const { __metadata__: given, ...rest } = header
  const metadata = isMapping(given) ? Object.fromEntries(Object.entries(given).map(([k, v]) => [k, String(v)])) : {}
  const tensors = new Map(
    Object.entries(rest).map(([name, entry]) => [name, checkEntry(path, name, entry, 8 + length, size)]),
  )
  return { text, tensors, metadata }
}

function checkEntry(path: string, name: string, entry: unknown, start: number, size: number): StoredTensor {
  const { dtype, shape, data_offsets: offsets } = isMapping(entry) ? entry : {}
  const type = types.find((known) => known === dtype)
  if (type === undefined)
    throw invalid(path, `${name} has type ${String(dtype)}, but only ${types.join(', ')} are read`)
  const isList = (value: unknown): value is number[] =>
    Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0)
  if (!isList(shape) || !isList(offsets) || offsets.length !== 2) throw invalid(path, `${name} has no proper place`)
  const [from, to] = offsets as [number, number]
  const bytes = shape.reduce((product, extent) => product * extent, widths[type])
  if (to - from !== bytes) throw invalid(path, `${name} should have ${bytes} bytes but has ${to - from}`)
  if (start + to > size) throw invalid(path, `it is cut off: ${name} ends at byte ${start + to} of ${size}`)
  return { type, shape, offset: start + from, bytes }
}

/** The bytes of numbers, as numbers. */
export function decodeNumbers(bytes: Buffer, type: NumberType): ArrayLike<number> {
  const { buffer } = new Uint8Array(bytes) // a copy, so that every type is aligned
  switch (type) {
    case 'F32':
      return new Float32Array(buffer)
    case 'F16':
      return fromHalves(new Uint16Array(buffer))
    case 'I64':
      return Float64Array.from(new BigInt64Array(buffer), Number)
    case 'I32':
      return new Int32Array(buffer)
    case 'I16':
      return new Int16Array(buffer)
    case 'U8':
      return new Uint8Array(buffer)
  }
}

const isMapping = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function invalid(path: string, reason: string, cause?: unknown): AutoprogError {
  const hint = 'label maps are safetensors files: one of autoprog annotate, or a folder with one for each image'
  return new AutoprogError('DATA', `${path} is not a valid safetensors file: ${reason}`, { hint, cause })
}
