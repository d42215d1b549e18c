import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createModel } from '../../lib/models/registry.js'
import { openDevice } from '../../lib/native.js'
import { createSession } from '../../lib/session/session.js'
import { test } from '../serial.js'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Resident megabytes once garbage is gone. */
async function resident(): Promise<number> {
  for (let round = 0; round < 3; round++) {
    collectGarbage()
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return process.memoryUsage.rss() / 2 ** 20
}

const model = createModel('vit', { imageSize: 16, patchSize: 4, embedDim: 48, depth: 3, heads: 3, classes: 10 })
const batch = 16
const images = { data: Uint8Array.from({ length: batch * 768 }, (_, index) => index % 251), shape: [batch, 16, 16, 3] }
const targets = Int32Array.from({ length: batch }, (_, index) => index % 10)
const optimizer = { averages: [0.9, 0.99] }
// Less than one batch of images a hundred steps, or a tenth of a session a cycle: a leak of anything per use shows.
const slack = 8

test('a thousand steps leave resident memory as it was', async (t) => {
  const device = await openDevice('cpu', { threads: 2 })
  const session = await createSession({ device, model, optimizer })
  const step = (index: number) =>
    session.step({
      images,
      targets,
      learningRate: 1e-3,
      stochasticDepth: 0.1,
      step: index,
      layers: index % 2 ? [0, 1, 2] : [0, 2],
      resolution: index % 3 ? 16 : 12,
    })
  for (let index = 0; index < 200; index++) await step(index)
  const before = await resident()
  for (let index = 0; index < 1000; index++) await step(index)
  const after = await resident()
  t.true(after - before < slack, `${before.toFixed(1)} MB grew to ${after.toFixed(1)} MB`)
  await session.close()
  await device.close()
})

test('a hundred sessions, opened, used and closed, leave resident memory as it was', async (t) => {
  const cycle = async () => {
    const device = await openDevice('cpu', { threads: 2 })
    const session = await createSession({ device, model, optimizer })
    await session.step({ images, targets, learningRate: 1e-3 })
    await session.close()
    await device.close()
  }
  // The allocator's pools and the engine's heap reach their size within two hundred; a leak would go on.
  for (let index = 0; index < 200; index++) await cycle()
  const before = await resident()
  for (let index = 0; index < 100; index++) await cycle()
  const after = await resident()
  t.true(after - before < slack, `${before.toFixed(1)} MB grew to ${after.toFixed(1)} MB`)
})

test('a session that nobody closed does not keep the process alive, and a device is closed with work under way', async (t) => {
  const device = await openDevice('cpu', { threads: 2 })
  const session = await createSession({ device, model })
  const work = session.step({ images, targets, learningRate: 1e-3 })
  await device.close()
  t.true(Number.isFinite((await work).loss))
  await session.close()
})
