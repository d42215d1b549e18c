/** Our half of bench/step: reads `go` and answers with the seconds of one training step, `end` with the rest. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { createModel, createSession, openDevice } from '../lib/index.js'

const [name, batchText, resolutionText] = process.argv.slice(2) as [string, string, string]
const [batch, resolution] = [Number(batchText), Number(resolutionText)]
const device = await openDevice('cpu', { threads: 2 })
const session = await createSession({ device, model: createModel(name) })
const size = resolution * resolution * 3
const images = {
  data: Uint8Array.from({ length: batch * size }, (_, index) => (Math.imul(index, 2654435761) >>> 13) & 255),
  shape: [batch, resolution, resolution, 3],
}
const targets = Int32Array.from({ length: batch }, (_, index) => index % 1000)
const delay = monitorEventLoopDelay({ resolution: 10 })
let active = 0
let before: Record<string, number> = {}
let stepped = 0
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'warm') {
    for (let index = 0; index < 2; index++) await session.step({ images, targets, learningRate: 1e-4 })
    before = await session.profile()
    delay.enable()
    console.log('{}')
  } else if (line === 'go') {
    // Only while our step runs: in between the peer has its turn.
    const utilization = performance.eventLoopUtilization()
    const start = performance.now()
    await session.step({ images, targets, learningRate: 1e-4 })
    const seconds = (performance.now() - start) / 1000
    stepped += seconds
    active += performance.eventLoopUtilization(utilization).active
    console.log(JSON.stringify({ seconds }))
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
