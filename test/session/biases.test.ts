import { layoutOf } from '../../lib/models/parameters.js'
import { createModel } from '../../lib/models/registry.js'
import { openDevice } from '../../lib/native.js'
import { prepare } from '../../lib/session/batch.js'
import { resolveOptions } from '../../lib/session/options.js'
import { buildProgram } from '../../lib/session/programs.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'
import { test } from '../serial.js'
import { unless } from '../unless.js'

// cuBLASLt adds a bias within a product only where it has the result's type.
const device = await openTestDevice()
test.after.always(() => device.close())

const batchOf = (size: number, channels: number) => ({
  images: { data: new Uint8Array(2 * size ** 2 * channels), shape: [2, size, size, channels] as const },
  targets: Int32Array.of(0, 1),
})

for (const name of ['deit_small_patch16_224', 'volo_d1_224', 'resnet50', 'vit_fashion'])
  for (const precision of ['bf16', 'fp16', 'fp32'] as const)
    test(`biases have their results' type: ${name} in ${precision}`, async (t) => {
      const model = createModel(name)
      const settings = resolveOptions({ device, model, precision })
      const batch = { ...batchOf(model.imageSize, model.channels), learningRate: 1e-3 }
      const { request } = prepare('step', batch, model, settings)
      const { tensors, nodes } = buildProgram(request, model, layoutOf(model), settings)
      const typeOf = (index: number) => tensors[index]!.type
      const biased = nodes.filter(
        ({ op, inputs }) => ['linear', 'linearGelu', 'convolution'].includes(op) && inputs.length === 3,
      )
      t.true(biased.length > 0)
      for (const { op, inputs, outputs } of biased) t.is(typeOf(inputs[2]!), typeOf(outputs[0]!), op)
    })

const volo = {
  ...{ imageSize: 32, patchSize: 8, stemDim: 16, mlpRatio: 2, classes: 4 },
  ...{ layers: [1, 1], embedDims: [32, 64], heads: [2, 2] },
}
const vit = { imageSize: 32, patchSize: 16, embedDim: 64, depth: 2, heads: 2, classes: 4 }

for (const [kind, configuration] of [
  ['vit', vit],
  ['volo', volo],
] as const)
  for (const precision of ['bf16', 'fp16', 'fp32'] as const)
    unless(device.kind === 'cpu' && 'it is of GPUs')(
      `biases are added within products, and summed up there: ${kind} in ${precision}`,
      async (t) => {
        const own = await openDevice(device.kind)
        const session = await createSession({
          device: own,
          model: createModel(kind, configuration as never),
          precision,
        })
        await session.step({ ...batchOf(32, 3), learningRate: 1e-3 })
        t.deepEqual(own.notices(), [])
        await session.close()
        await own.close()
      },
    )
