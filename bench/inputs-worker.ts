/**
 * One side of bench/inputs: `warm`, then `go N` for N steps, answered with the milliseconds of JavaScript's thread in a step.
 *
 *   inputs-worker.ts CHECKOUT CASE
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { cases } from './inputs-cases.js'

const [checkout, name] = process.argv.slice(2) as [string, keyof typeof cases]
// Of the checkout that is measured, which may be an older one.
const library = (file: string) => import(pathToFileURL(join(checkout, 'lib', file)).href)
const native = await library('native.ts')
const { createModel } = await library('models/registry.ts')
const { createSession } = await library('session/session.ts')

const { model: configuration, kind, batch, tokens, from, underWay } = cases[name]
const device = await native.openDevice('cpu', { threads: 1 })
const session = await createSession({ device, model: createModel(kind, configuration) })
const side = configuration.imageSize
const bytes = batch * side * side * 3
// As the loader of that checkout has it.
const loaded = from === 'loader' && native.hostBytes ? native.hostBytes(device)(bytes) : new Uint8Array(bytes)
const images = { data: loaded.fill(100), shape: [batch, side, side, 3] }
const targets = Int32Array.from({ length: batch }, (_, index) => index % 1000)
const options = {
  ...{ images, targets, microBatch: 16, learningRate: 1e-4 },
  ...(tokens && { tokenTargets: new Float32Array(batch * tokens * 1000).fill(1 / 1000) }),
}

async function steps(count: number): Promise<void> {
  const running: Promise<unknown>[] = []
  for (let index = 0; index < count; index++) {
    running.push(session.step(options))
    if (running.length >= underWay) await running.shift()
  }
  await Promise.all(running)
}

/** Milliseconds of this thread on a processor, where the system tells. */
function processorMilliseconds(): number {
  const [nanoseconds] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')
  return Number(nanoseconds) / 1e6
}

for await (const line of createInterface({ input: process.stdin })) {
  const [command, count] = line.split(' ')
  if (command === 'warm') {
    await steps(4)
    console.log('{}')
  } else if (command === 'go') {
    const utilization = performance.eventLoopUtilization()
    const before = processorMilliseconds()
    await steps(Number(count))
    const processor = (processorMilliseconds() - before) / Number(count)
    const active = performance.eventLoopUtilization(utilization).active / Number(count)
    console.log(JSON.stringify({ active, processor }))
  } else break
}
await session.close()
await device.close()
