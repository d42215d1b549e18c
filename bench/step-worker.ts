/**
 * Our half of bench/step: `warm`, then `go N` for N training steps, answered with the seconds of one, then `end` for the
 * rest.
 *
 *   step-worker.ts MODEL BATCH RESOLUTION DEVICE PRECISION
 *
 * Two steps are under way at a time, as in training, so that a GPU never waits for the host.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { createModel, createSession, openDevice } from '../lib/index.js'
import type { Precision } from '../lib/session/request.js'

const [name, batchText, resolutionText, deviceName, precision] = process.argv.slice(2) as [
  ...[string, string, string, string],
  Precision,
]
const [batch, resolution] = [Number(batchText), Number(resolutionText)]
const device = await openDevice(deviceName, { threads: 2 })
const model = createModel(name)
const session = await createSession({ device, model, precision })
const size = resolution * resolution * 3
const images = {
  data: Uint8Array.from({ length: batch * size }, (_, index) => (Math.imul(index, 2654435761) >>> 13) & 255),
  shape: [batch, resolution, resolution, 3],
}
const targets = Int32Array.from({ length: batch }, (_, index) => index % 1000)
const grid = model.tokenSize === undefined ? undefined : resolution / model.tokenSize
// As large a box as MixToken draws on the average.
const tokens = grid !== undefined && {
  tokenTargets: new Float32Array(batch * grid ** 2 * 1000).fill(1 / 1000),
  mixBox: [0, 0, grid >> 1, grid >> 1] as const,
}
// Batch norm takes its statistics over the whole batch, as the peer does.
const whole = model.batchNorm && { microBatch: batch }
const step = () => session.step({ images, targets, ...tokens, ...whole, learningRate: 1e-4 })

async function steps(count: number): Promise<void> {
  let before: Promise<unknown> | undefined
  for (let index = 0; index < count; index++) {
    const next = step()
    await before
    before = next
  }
  await before
}

const delay = monitorEventLoopDelay({ resolution: 10 })
let active = 0
let before: Record<string, number> = {}
let stepped = 0
for await (const line of createInterface({ input: process.stdin })) {
  const [command, count] = line.split(' ')
  if (command === 'warm') {
    await steps(device.kind === 'cpu' ? 2 : 10)
    before = await session.profile()
    delay.enable()
    console.log('{}')
  } else if (command === 'go') {
    // Only while our steps run: in between the peer has its turn.
    const utilization = performance.eventLoopUtilization()
    const start = performance.now()
    await steps(Number(count))
    const seconds = (performance.now() - start) / 1000
    stepped += seconds
    active += performance.eventLoopUtilization(utilization).active
    console.log(JSON.stringify({ seconds: seconds / Number(count) }))
  } else {
    const ops = Object.fromEntries(
      Object.entries(await session.profile()).map(([op, seconds]) => [op, seconds - (before[op] ?? 0)]),
    )
    console.log(
      JSON.stringify({
        peakMegabytes: process.resourceUsage().maxRSS / 1024,
        javascriptShare: active / 1000 / stepped,
        // The monitor itself ticks every ten milliseconds.
        eventLoopDelayP99: Math.max(0, delay.percentile(99) / 1e9 - 0.01),
        ops,
      }),
    )
    break
  }
}
await session.close()
await device.close()
