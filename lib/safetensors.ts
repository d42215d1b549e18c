/**
 * The head of a safetensors file: 8 bytes that say how long the header is, and the header, JSON that says where each
 * tensor lies (https://github.com/huggingface/safetensors).
 */
import { type AutoprogError, brief, describe } from './errors.js'

/** Where a tensor lies, in bytes of its file. */
export interface StoredPlace<T extends string> {
  readonly type: T
  readonly shape: readonly number[]
  readonly offset: number
  readonly bytes: number
}

export interface TensorHeader<T extends string> {
  readonly tensors: ReadonlyMap<string, StoredPlace<T>>
  readonly metadata: Readonly<Record<string, string>>
}

/** Makes the error of a file that is not as it should be. */
type Invalid = (reason: string, cause?: unknown) => AutoprogError

const longestHeader = 100_000_000 // the format's own limit

/** Bytes of the header after the first 8, of which `start` holds as many as the file has. */
export function headerLength(start: Buffer, size: number, invalid: Invalid): number {
  if (start.length < 8) throw invalid(`it has ${start.length} bytes`)
  const length = Number(start.readBigUInt64LE(0))
  if (length > longestHeader || 8 + length > size) throw invalid(`its header claims ${length} bytes of ${size}`)
  return length
}

/**
 * The tensors of a header in the file's order, each within `size` bytes and as long as its shape and type want.
 *
 * @param types bytes of a value, for each type that is taken
 */
export function parseHeader<T extends string>(
  header: Buffer,
  size: number,
  types: Readonly<Record<T, number>>,
  invalid: Invalid,
): TensorHeader<T> {
  let parsed: unknown
  try {
    parsed = JSON.parse(header.toString('utf8'))
  } catch (cause) {
    throw invalid('its header is not JSON', cause)
  }
  if (!isMapping(parsed) || !Object.values(parsed).every(isMapping))
    throw invalid('its header is not an object of tensors')
  const { __metadata__: notes = {}, ...entries } = parsed as Record<string, Record<string, unknown>>
  const start = 8 + header.length
  const tensors = new Map<string, StoredPlace<T>>()
  for (const [fullName, { dtype, shape, data_offsets: offsets }] of Object.entries(entries)) {
    const name = brief(fullName)
    if (typeof dtype !== 'string' || !Object.hasOwn(types, dtype))
      throw invalid(
        `${name} has type ${typeof dtype === 'string' ? brief(dtype) : describe(dtype)}, but only ${Object.keys(types).join(', ')} are read`,
      )
    if (!isList(shape)) throw invalid(`${name} has no proper shape`)
    if (!isList(offsets) || offsets.length !== 2) throw invalid(`${name} has no proper offsets`)
    const [from, to] = offsets as [number, number]
    if (start + to > size || from > to)
      throw invalid(`${name} lies at bytes ${from} to ${to} of ${size - start}: the file is cut off or damaged`)
    const bytes = shape.reduce((product, extent) => product * extent, types[dtype as T])
    if (to - from !== bytes)
      throw invalid(`${name} of shape [${brief(shape.join(', '))}] should have ${bytes} bytes but has ${to - from}`)
    tensors.set(fullName, { type: dtype as T, shape, offset: start + from, bytes })
  }
  if (!Object.values(notes).every((value) => typeof value === 'string')) throw invalid('its metadata are not all texts')
  return { tensors, metadata: notes as Record<string, string> }
}

const isMapping = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isList = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0)
