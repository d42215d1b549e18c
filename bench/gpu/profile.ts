/**
 * Where the time of a training step goes, op by op, beside the least that each op could take on this GPU:
 *   node --import tsx bench/gpu/profile.ts MODEL BATCH RESOLUTION DEVICE PRECISION STEPS
 * AUTOPROG_PROFILE has to be set: steps then run op by op, and take longer than as one graph.
 */
import type { Precision } from '../../lib/session/request.js'
import { gpus, roofline, stepProgram } from '../roofline.js'
import type { OurEnd, StepCase } from '../step-case.js'
import { startOurs } from '../step-case.js'
import { measureInTurn } from '../worker.js'

const [model, batch, resolution, device, precision, steps] = process.argv.slice(2) as [
  ...[string, string, string, string, Precision, string],
]
const step: StepCase = { model, batch: Number(batch), resolution: Number(resolution), device, precision }
const worker = startOurs(step)
const [measured] = await measureInTurn([worker], { rounds: 1, steps: Number(steps), pause: 0 })
worker.stop()
if (!measured) throw new Error(`the worker ended with status ${await worker.ended}`)
const { ops, deviceName } = measured.end as unknown as OurEnd

const gpu = Object.keys(gpus).find((name) => deviceName.replace(/\W/g, '').toLowerCase().includes(name))
const least = new Map<string, number>()
if (gpu !== undefined) {
  const { kernels } = roofline(
    stepProgram(model, step.batch, precision, step.resolution),
    gpu as keyof typeof gpus,
    precision,
  )
  for (const { name, seconds } of kernels) {
    const op = name.split(' ')[0]!
    least.set(op, (least.get(op) ?? 0) + seconds)
  }
}
const rows = Object.entries(ops)
  .map(([op, seconds]) => {
    const milliseconds = (1000 * seconds) / Number(steps)
    const floor = least.get(op)
    return { op, milliseconds, ...(floor !== undefined && { leastMilliseconds: 1000 * floor }) }
  })
  .sort((a, b) => b.milliseconds - a.milliseconds)
const sum = rows.reduce((total, { milliseconds }) => total + milliseconds, 0)
const dearest = rows.slice(0, 5).map(({ op, milliseconds }) => `${op} ${milliseconds.toFixed(2)}`)
console.log(
  JSON.stringify({
    summary: `${sum.toFixed(2)} ms in ops, of ${(1000 * measured.seconds[0]!).toFixed(2)} ms a step: ${dearest.join(', ')}`,
    ...{ ...step, deviceName, gpu, sumMilliseconds: sum, stepMilliseconds: 1000 * measured.seconds[0]!, ops: rows },
  }),
)
