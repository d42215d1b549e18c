import type { Device } from '../../lib/native.js'
import { relativeError } from '../golden.js'
import { different } from '../same.js'
import { test } from '../serial.js'
import { type OpCase, randomValues, runCase } from './harness.js'

/** The 16-bit types with their unit roundoff. */
export const reducedTypes = [
  ['bf16', 2 ** -8],
  ['f16', 2 ** -11],
] as const

/** Declares a test in each 16-bit type: the outputs and gradients of a case stay near those in f32, and are not the same. */
export function testReduced(title: string, device: Device, opCase: OpCase): void {
  for (const [low, roundoff] of reducedTypes)
    test(`${title}, ${low}`, async (t) => {
      const { outputs } = await runCase(t, device, opCase)
      const seeds = Object.fromEntries(
        Object.entries(outputs).map(([key, y], index) => [key, randomValues([y.length], 900 + index)]),
      )
      const full = await runCase(t, device, opCase, seeds)
      const lowered = await runCase(t, device, opCase, seeds, low)
      // A few roundings of half a unit each on the way, of which the largest count: 4 units bound what was seen.
      for (const side of ['outputs', 'gradients'] as const)
        for (const [key, wanted] of Object.entries(full[side])) {
          const error = relativeError(lowered[side][key]!, wanted)
          t.true(error <= 4 * roundoff, `${side} ${key}: relative error ${error}`)
        }
      different(t, lowered.outputs, full.outputs)
    })
}
