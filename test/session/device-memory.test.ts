import { join } from 'node:path'
import type { AutoprogError } from '../../lib/errors.js'
import { createModel } from '../../lib/models/registry.js'
import { resolveConfig } from '../../lib/recipe/config.js'
import { createSession } from '../../lib/session/session.js'
import { train } from '../../lib/training/trainer.js'
import { picture, temporaryFolder, writeTree } from '../data/images.js'
import { openTestDevice } from '../device.js'
import { unless } from '../unless.js'

// Megabytes; 32 of them are cuBLASLt's workspace. Read when the addon first looks for a device.
process.env.AUTOPROG_EMULATED_MEMORY = '42'
const device = await openTestDevice()
const network = { imageSize: 16, patchSize: 4, embedDim: 48, depth: 3, heads: 3, channels: 3, classes: 2 } as const
const batch = 64

unless(device.kind !== 'cuda-emulated' && 'there is no emulated device')(
  'a device with little memory: a batch that does not fit is an error that says what would, and changes nothing',
  async (t) => {
    const session = await createSession({ device, model: createModel('vit', network) })
    const step = (images: number, microBatch: number) =>
      session.step({
        images: { data: new Uint8Array(images * 768), shape: [images, 16, 16, 3] },
        ...{ targets: new Int32Array(images), learningRate: 1e-3, microBatch },
      })
    await step(2, 2)
    const error = await step(batch, batch).then(() => t.fail('it fits'), String)
    t.regex(error, /Could not reserve \d+ MiB of device memory: \d+ of 42 MiB are free/)
    const hint = await step(batch, batch).catch((error: AutoprogError) => error.hint ?? '')
    const [, fitting] = /A micro-batch of (\d+) would fit, instead of 64/.exec(String(hint))!
    await step(2, 2)
    await step(batch, Number(fitting))
    await session.close()
    await device.close()
  },
)

unless(device.kind !== 'cuda-emulated' && 'there is no emulated device')(
  'a device with little memory: a training that chooses its micro-batches passes over those that do not fit',
  async (t) => {
    const folder = await temporaryFolder()
    const files: Record<string, Uint8Array> = {}
    for (let index = 0; index < batch; index++)
      for (const kind of ['a', 'b'])
        files[join('train', kind, `${index}.png`)] = await picture({ height: 16, width: 16, seed: index })
    for (const kind of ['a', 'b']) files[join('val', kind, '0.png')] = await picture({ height: 16, width: 16 })
    await writeTree(folder, files)
    const config = resolveConfig({
      ...{ data: folder, model: { kind: 'vit', ...network }, device: 'cuda-emulated', epochs: 1, batch },
      ...{ schedule: { kind: 'original' }, learningRate: { warmupEpochs: 0 }, ema: { decays: [0.9] } },
      evaluation: { batch: 2 },
    })
    const steps = []
    for await (const event of train(config)) if (event.type === 'step') steps.push(event.loss)
    t.is(steps.length, 2)
    t.true(steps.every(Number.isFinite))
  },
)
