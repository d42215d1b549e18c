/** Safetensors files too large to be read whole: where their tensors lie, and what the bytes of a part of one mean. */
import type { FileHandle } from 'node:fs/promises'
import { AutoprogError } from '../../errors.js'
import { fromHalves } from '../../half.js'
import type { StoredPlace, TensorHeader } from '../../safetensors.js'
import { headerLength, parseHeader } from '../../safetensors.js'
import { readBytes } from '../source/pack-file.js'

const widths = { F32: 4, F16: 2, I64: 8, I32: 4, I16: 2, U8: 1 } as const
export type NumberType = keyof typeof widths

export type StoredTensor = StoredPlace<NumberType>

export const bytesOfType = (type: NumberType): number => widths[type]

/** Throws DATA unless it is a safetensors file, whole, of numbers that we know. `text` is the header itself. */
export async function readTensorHeader(
  path: string,
  handle: FileHandle,
): Promise<TensorHeader<NumberType> & { readonly text: string }> {
  const fail = (reason: string, cause?: unknown) => invalid(path, reason, cause)
  const { size } = await handle.stat()
  const length = headerLength(await readBytes(handle, 0, 8), size, fail)
  const header = await readBytes(handle, 8, length)
  return { text: header.toString('utf8'), ...parseHeader(header, size, widths, fail) }
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

function invalid(path: string, reason: string, cause?: unknown): AutoprogError {
  const hint = 'label maps are safetensors files: one of autoprog annotate, or a folder with one for each image'
  return new AutoprogError('DATA', `${path} is not a valid safetensors file: ${reason}`, { hint, cause })
}
