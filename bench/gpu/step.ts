/**
 * One training step, measured with nothing else on the GPU:
 *   node --import tsx bench/gpu/step.ts ours|eager|compile|eager-channels-last|compile-channels-last
 *     MODEL BATCH RESOLUTION DEVICE PRECISION ROUNDS STEPS
 * Our images travel to the device while the step before runs; those of the peers, PyTorch's, lie there already.
 */
import type { PeerMode, StepCase } from '../step-case.js'
import { startOurs, startPeer, stepFlops } from '../step-case.js'
import { measureInTurn, median } from '../worker.js'
import { skippedStatus } from './runner.js'

const [who, model, batch, resolution, device, precision, rounds, steps] = process.argv.slice(2) as [
  ...['ours' | PeerMode, string, string, string, string, string, string, string],
]
const step: StepCase = { model, batch: Number(batch), resolution: Number(resolution), device, precision }
const worker = who === 'ours' ? startOurs(step) : startPeer('python3', step, who)
const [measured] = await measureInTurn([worker], { rounds: Number(rounds), steps: Number(steps), pause: 0 })
worker.stop()
if (!measured) {
  const status = await worker.ended
  if (who !== 'ours' && (status === skippedStatus || status === null)) {
    console.log(status === null ? 'python3 is missing' : 'PyTorch or timm is missing')
    process.exit(skippedStatus)
  }
  console.error(`the worker ended with status ${status}`)
  process.exit(1)
}
const seconds = median(measured.seconds)
const imagesPerSecond = step.batch / seconds
const teraflops = stepFlops(step) / seconds / 1e12
console.log(
  JSON.stringify({
    summary: `${imagesPerSecond.toFixed(0)} images/s, ${(1000 * seconds).toFixed(2)} ms, ${teraflops.toFixed(1)} TFLOP/s`,
    ...{ who, ...step, imagesPerSecond, teraflops, seconds: measured.seconds, ...measured.end },
  }),
)
