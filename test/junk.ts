/** Values that nobody should give, and calls with them in every place. */
import type { ExecutionContext } from 'ava'
import { AutoprogError } from '../lib/errors.js'

/** What a getter of a caller's own throws goes through as it is. */
export class Thrown extends Error {}
const thrower = Object.defineProperty({}, 'x', {
  enumerable: true,
  get: () => {
    throw new Thrown('from a getter')
  },
})
const cyclic: Record<string, unknown> = {}
cyclic.self = cyclic
const detached = new Float32Array(6)
structuredClone(detached.buffer, { transfer: [detached.buffer] })
export const junk: readonly unknown[] = [
  ...[undefined, null, true, false, Number.NaN, Infinity, -1, 0, 0.5, 1, 3, 1e9, 2 ** 53, 7n, '', 'x', '\0'],
  ...[Symbol('s'), [], [1], [[]], [Symbol('s')], [null], [Object.create(null)], [1e9, 1e9], {}, Object.create(null)],
  ...[
    { toString: null },
    cyclic,
    thrower,
    () => 1,
    class {},
    new Date(),
    new Map(),
    new Set([1]),
    /x/,
    new Proxy({}, {}),
  ],
  ...[new Float32Array(6), new Float64Array(6), new Int32Array(2), new Uint8Array(2 * 768), new Uint8ClampedArray(6)],
  ...[new BigInt64Array(6), new DataView(new ArrayBuffer(8)), new ArrayBuffer(8), new SharedArrayBuffer(8), detached],
  ...[new Uint8Array(new SharedArrayBuffer(2 * 768)), new Int32Array(new SharedArrayBuffer(8)), Promise.resolve(1)],
]

/** Every way to make one place within a value junk, down to a depth. */
export function* spoilt(value: unknown, depth: number): Generator<unknown> {
  yield* junk
  if (depth === 0 || typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return
  for (const [key, inner] of Object.entries(value))
    for (const other of spoilt(inner, depth - 1)) {
      if (Array.isArray(value)) yield Object.assign([...value], { [key]: other })
      else yield { ...value, [key]: other }
    }
}

/** Calls with each argument spoilt in turn. Whatever fails does so with a code, and little at once lasts long. */
export async function assail(
  t: ExecutionContext,
  name: string,
  call: (...args: never[]) => unknown,
  args: unknown[],
  depth = 2,
) {
  const uncoded = new Set<string>()
  let [calls, refused] = [0, 0]
  for (const at of args.keys())
    for (const spoiled of spoilt(args[at], depth)) {
      calls++
      try {
        await call(...(args.map((arg, index) => (index === at ? spoiled : arg)) as never[]))
      } catch (error) {
        refused++
        if (error instanceof AutoprogError ? error.message === '' : !(error instanceof Thrown))
          uncoded.add(error instanceof Error ? (error.stack ?? '').split('\n').slice(0, 4).join(' | ') : String(error))
      }
    }
  t.deepEqual([...uncoded], [], name)
  t.true(refused > calls / 4, `${name}: ${refused} of ${calls} refused`)
}
