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
import { addon } from '../lib/native.js'
import type { Precision } from '../lib/session/request.js'

const [name, batchText, resolutionText, deviceName, precision] = process.argv.slice(2) as [
  ...[string, string, string, string],
  Precision,
]
const [batch, resolution] = [Number(batchText), Number(resolutionText)]
const device = await openDevice(deviceName, { threads: 2 })
const gpu = device.kind !== 'cpu'
// On a GPU ops are timed only where that is asked for: a step is slower then.
const profiled = !gpu || Boolean(process.env.AUTOPROG_PROFILE)
const free = async () => (await addon().freeMemory(device.handle)) ?? 0
const freeBefore = await free()
const model = createModel(name)
const session = await createSession({ device, model, precision })
const size = resolution * resolution * 3
const images = {
  data: Uint8Array.from({ length: batch * size }, (_, index) => (Math.imul(index, 2654435761) >>> 13) & 255),
  shape: [batch, resolution, resolution, 3],
}
const targets = Int32Array.from({ length: batch }, (_, index) => index % model.classes)
const grid = model.tokenSize === undefined ? undefined : resolution / model.tokenSize
// Label maps of ImageNet's size, and as large a box as MixToken draws on the average.
const mapShape = [5, 18, 18] as const
const mapSize = batch * mapShape[0] * mapShape[1] * mapShape[2]
const tokens = grid !== undefined && {
  labelMaps: {
    classes: Int32Array.from({ length: mapSize }, (_, index) => (index * 7) % 1000),
    scores: new Float32Array(mapSize).fill(0.1),
    shape: mapShape,
    regions: Float32Array.from({ length: batch * 5 }, (_, index) => [0.1, 0.1, 0.9, 0.9, 0][index % 5]!),
  },
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
    await steps(device.kind === 'cuda' ? 10 : 2)
    if (profiled) before = await session.profile()
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
    const after = profiled ? await session.profile() : {}
    const ops = Object.fromEntries(Object.entries(after).map(([op, seconds]) => [op, seconds - (before[op] ?? 0)]))
    console.log(
      JSON.stringify({
        peakMegabytes: gpu ? (freeBefore - (await free())) / 2 ** 20 : process.resourceUsage().maxRSS / 1024,
        javascriptShare: active / 1000 / stepped,
        deviceName: addon().deviceInfo(device.handle).name ?? device.kind,
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
