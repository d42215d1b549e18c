import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import type { TensorFile } from '../lib/models/tensor-file.js'
import { readTensors } from '../lib/models/tensor-file.js'

/** Reading the float64 ground truth in test/golden and comparing with it. */

const path = (name: string) => fileURLToPath(new URL(`golden/${name}`, import.meta.url))

export async function goldenJson<T>(name: string): Promise<T> {
  return JSON.parse(await readFile(path(`${name}.json`), 'utf8')) as T
}

export interface Golden {
  floats(name: string): Float32Array
  bytes(name: string): Uint8Array
  ints(name: string): Int32Array
  shape(name: string): readonly number[]
  /** All tensors whose name starts with `prefix`, by the rest of the name. */
  group(prefix: string): Map<string, Float32Array>
  file: TensorFile
}

export async function goldenTensors(name: string): Promise<Golden> {
  const file = await readTensors(path(`${name}.safetensors`))
  const get = (tensor: string) => {
    const stored = file.tensors.get(tensor)
    if (!stored) throw new Error(`${name} has no tensor ${tensor}`)
    return stored
  }
  return {
    file,
    floats: (tensor) => get(tensor).values as Float32Array,
    bytes: (tensor) => get(tensor).values as Uint8Array,
    ints: (tensor) => get(tensor).values as Int32Array,
    shape: (tensor) => get(tensor).shape,
    group: (prefix) =>
      new Map(
        [...file.tensors]
          .filter(([key]) => key.startsWith(prefix))
          .map(([key, { values }]) => [key.slice(prefix.length), values as Float32Array]),
      ),
  }
}

/** ‖a - b‖ / ‖b‖, for messages. */
export function relativeError(actual: ArrayLike<number>, wanted: ArrayLike<number>): number {
  let difference = 0
  let norm = 0
  for (let i = 0; i < wanted.length; i++) {
    difference += (actual[i]! - wanted[i]!) ** 2
    norm += wanted[i]! ** 2
  }
  return Math.sqrt(difference / Math.max(norm, 1e-300))
}

/** The fixtures' tolerance: ‖a - b‖ <= r ‖b‖ + 1e-6 √n. */
export function assertClose(
  t: ExecutionContext,
  actual: ArrayLike<number>,
  wanted: ArrayLike<number>,
  r: number,
  what: string,
): void {
  t.is(actual.length, wanted.length, `${what}: length`)
  let difference = 0
  let norm = 0
  for (let i = 0; i < wanted.length; i++) {
    difference += (actual[i]! - wanted[i]!) ** 2
    norm += wanted[i]! ** 2
  }
  const limit = r * Math.sqrt(norm) + 1e-6 * Math.sqrt(wanted.length)
  t.true(
    Math.sqrt(difference) <= limit,
    `${what}: difference ${Math.sqrt(difference)} exceeds ${limit} (relative ${relativeError(actual, wanted)})`,
  )
}
