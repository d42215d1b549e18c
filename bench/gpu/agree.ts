/**
 * Whether training on a device agrees with the processor's, in one precision:
 *   node --import tsx bench/gpu/agree.ts DEVICE PRECISION STEPS
 */
import { openDevice } from '../../lib/index.js'
import type { Precision } from '../../lib/session/request.js'
import { trainShortly } from '../short-training.js'

/**
 * Largest difference of a loss. In fp32 only the order of sums differs; in 16 bits a value between two neighbours may round
 * either way, which feeds back through training.
 */
const tolerance = { fp32: 1e-3, bf16: 0.05, fp16: 0.02 }

const [name, precision, steps] = process.argv.slice(2) as [string, Precision, string]
const losses = async (kind: string) => {
  const device = await openDevice(kind)
  const found = await trainShortly(device, precision, Number(steps))
  await device.close()
  return found
}
const [ours, wanted] = [await losses(name), await losses('cpu')]
const differences = ours.map(({ network, losses }, index) => ({
  network,
  difference: Math.max(...losses.map((loss, step) => Math.abs(loss - wanted[index]!.losses[step]!))),
}))
const worst = Math.max(...differences.map(({ difference }) => difference))
console.log(
  JSON.stringify({
    summary: `losses within ${worst.toExponential(1)} of the processor's, ${tolerance[precision]} allowed`,
    ...{ precision, worst, allowed: tolerance[precision], differences, ours, wanted },
  }),
)
process.exitCode = worst <= tolerance[precision] ? 0 : 1
