import { loadDataset } from '../../datasets/index.js'
import { createLoader } from '../../lib/data/loader.js'
import { createModel } from '../../lib/models/registry.js'
import type { Device } from '../../lib/native.js'
import { openDevice } from '../../lib/native.js'
import type { Precision } from '../../lib/session/request.js'
import { createSession } from '../../lib/session/session.js'
import { shifted } from '../data/images.js'
import { openTestDevice } from '../device.js'
import { test } from '../serial.js'
import { unless } from '../unless.js'

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
test.after.always(async () => {
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

// In f32 only the order of sums differs; in 16 bits a value between two neighbours may round either way, which feeds
// back through training.
for (const [precision, distance] of [
  ['fp32', 1e-4],
  ['bf16', 0.05],
  ['fp16', 0.01],
] as const)
  unless(device.kind === 'cpu' && 'the processor is what it is compared with')(
    `training on ${device.kind}: ${precision}: losses within ${distance} of the processor's`,
    async (t) => {
      const [ours, wanted] = [await losses(device, precision), await losses(cpu, precision)]
      for (const [step, loss] of ours.entries())
        t.true(Math.abs(loss - wanted[step]!) <= distance, `step ${step}: ${loss} instead of ${wanted[step]}`)
      t.true(ours.at(-1)! < ours[0]!, String(ours))
    },
  )
