import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { loadDataset } from '../../datasets/index.js'
import { createLoader } from '../../lib/data/loader.js'
import { createModel } from '../../lib/models/registry.js'
import type { Device } from '../../lib/native.js'
import { openDevice } from '../../lib/native.js'
import type { Precision } from '../../lib/session/request.js'
import { createSession } from '../../lib/session/session.js'
import { shifted } from '../data/images.js'
import { openTestDevice } from '../device.js'

// A short training on real images: the same losses as the processor's. Heads of 32 take the tensor-core kernels.
const steps = 12
const batch = 16
const configuration = {
  ...{ imageSize: 32, patchSize: 8, embedDim: 64, depth: 2, heads: 2, classes: 10 },
  ...{ channels: 1 as const, mean: [0.286], deviation: [0.353] },
}

const device = await openTestDevice()
const cpu = await openDevice('cpu', { threads: 2 })
const dataset = await loadDataset('fashion-mnist', { seed: 0 })
after(async () => {
  await Promise.all([device.close(), cpu.close(), dataset.close()])
})

async function losses(on: Device, precision: Precision): Promise<number[]> {
  const model = createModel('vit', configuration)
  const session = await createSession({ device: on, model, precision, optimizer: { averages: [0.9] } })
  const loader = createLoader(dataset.train, { batch, seed: 0, shuffle: true, augmentation: shifted })
  const result: number[] = []
  for await (const { step, images, labels, height, width, channels, crops, pad } of loader.batches({ steps })) {
    const { loss } = await session.step({
      images: { data: images, shape: [batch, height, width, channels], crops: crops!, pad },
      ...{ targets: labels, resolution: 32, microBatch: 8, stochasticDepth: 0.1, step, learningRate: 2e-3 },
    })
    result.push(loss)
  }
  await session.close()
  return result
}

describe(`training on ${device.kind}`, {
  skip: device.kind === 'cpu' && 'the processor is what it is compared with',
}, () => {
  // In f32 only the order of sums differs; in 16 bits a value between two neighbours may round either way, which feeds
  // back through training.
  for (const [precision, distance] of [
    ['fp32', 1e-4],
    ['bf16', 0.05],
    ['fp16', 0.01],
  ] as const)
    test(`${precision}: losses within ${distance} of the processor's`, async () => {
      const [ours, wanted] = [await losses(device, precision), await losses(cpu, precision)]
      for (const [step, loss] of ours.entries())
        assert.ok(Math.abs(loss - wanted[step]!) <= distance, `step ${step}: ${loss} instead of ${wanted[step]}`)
      assert.ok(ours.at(-1)! < ours[0]!, String(ours))
    })
})
