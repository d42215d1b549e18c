/** What is exported, run by ONNX Runtime, is what the session computes. */
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { exportOnnx } from '../../lib/export/onnx/export-onnx.js'
import { decodeModel } from '../../lib/export/onnx/schema.js'
import type { Model } from '../../lib/models/model.js'
import type { TrainedModel } from '../../lib/models/model-file.js'
import { initialValues } from '../../lib/models/parameters.js'
import { createModel } from '../../lib/models/registry.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'
import { assertClose } from '../golden.js'
import { randomValues } from '../ops/harness.js'
import { test } from '../serial.js'

const device = await openTestDevice()
test.after.always(() => device.close())

const classes = 7
const cases: Record<string, { model: Model; resolution?: number }> = {
  'a vision transformer': {
    model: createModel('vit', { imageSize: 32, patchSize: 8, embedDim: 24, depth: 3, heads: 3, classes }),
  },
  'a vision transformer of grey images at another resolution': {
    model: createModel('vit', { imageSize: 32, patchSize: 8, embedDim: 24, depth: 2, heads: 3, classes, channels: 1 }),
    resolution: 48,
  },
  'a VOLO': {
    model: createModel('volo', {
      ...{ imageSize: 32, layers: [2, 1, 1, 1], embedDims: [16, 32, 32, 32], heads: [2, 2, 2, 2], patchSize: 8 },
      ...{ stemDim: 8, classes },
    }),
  },
  'a VOLO at another resolution': {
    model: createModel('volo', {
      ...{ imageSize: 64, layers: [1, 1], embedDims: [16, 24], heads: [2, 2], patchSize: 8, stemDim: 8, classes },
    }),
    resolution: 48,
  },
  'a ResNet of basic blocks': {
    model: createModel('resnet', { imageSize: 32, block: 'basic', layers: [1, 2], channels: [8, 16], classes }),
  },
  'a ResNet of bottlenecks': {
    model: createModel('resnet', { imageSize: 48, block: 'bottleneck', layers: [1, 1], channels: [8, 16], classes }),
  },
}

/** Values as training leaves them: nothing at zero or one. */
const weightsOf = (model: Model) =>
  new Map(
    model.parameters.map((each, index) => {
      const noise = randomValues(each.shape, index)
      const base = initialValues(each, 1)
      const spread = each.name.endsWith('running_var') ? 0.3 : 0.1
      return [each.name, base.map((value, i) => value + spread * noise[i]!)]
    }),
  )

for (const [name, { model, resolution = model.imageSize }] of Object.entries(cases)) {
  const weights = weightsOf(model)
  const description: TrainedModel = {
    ...{ version: 1, name: model.name, network: 'vit_micro', blocks: [...model.blocks], classCount: classes },
    ...{ classes: Array.from({ length: classes }, (_, index) => `class ${index}`), channels: model.channels },
    mean: [...model.mean] as TrainedModel['mean'],
    deviation: [...model.deviation] as TrainedModel['deviation'],
    ...{ resolution, crop: 1, interpolation: 'bicubic', precision: 'fp32', average: null, evaluated: null },
    trained: { version: '0', date: '', data: 'x', seed: 0, step: 0, epoch: 0 },
  }

  test(`${name} gives the same logits, in any batch, of bytes and of floats`, async (t) => {
    const session = await createSession({ device, model, weights, training: false })
    const { channels } = model
    const plain = await InferenceSession.create(
      exportOnnx(model, weights, description, { preprocessing: false, softmax: false }),
    )
    const whole = await InferenceSession.create(
      exportOnnx(model, weights, description, { preprocessing: true, softmax: true }),
    )
    for (const batch of [1, 3]) {
      const shape = [batch, resolution, resolution, channels]
      const bytes = Uint8Array.from(randomValues(shape, 9), (value) => Math.round(127 + 60 * value))
      const { logits } = await session.forward({ images: { data: bytes, shape }, resolution })
      // (B, H, W, C) -> (B, C, H, W), normalised
      const floats = new Float32Array(bytes.length)
      const plane = resolution ** 2
      bytes.forEach((value, at) => {
        const [c, p, b] = [at % channels, Math.floor(at / channels) % plane, Math.floor(at / channels / plane)]
        floats[(b * channels + c) * plane + p] = (value / 255 - model.mean[c]!) / model.deviation[c]!
      })
      const input = new Tensor('float32', floats, [batch, channels, resolution, resolution])
      const found = (await plain.run({ pixel_values: input })).logits!
      t.deepEqual(found.dims, [batch, classes])
      assertClose(t, found.data as Float32Array, logits, 1e-4, 'logits')
      const { probabilities } = await whole.run({ images: new Tensor('uint8', bytes, shape) })
      const expected = Array.from({ length: batch }, (_, b) => {
        const powers = Array.from(logits.subarray(b * classes, (b + 1) * classes), Math.exp)
        const sum = powers.reduce((x, y) => x + y)
        return powers.map((power) => power / sum)
      }).flat()
      assertClose(t, probabilities!.data as Float32Array, expected, 1e-4, 'probabilities')
    }
    await session.close()
  })
}

test('the file names its classes, its weights as timm does, and its maker', (t) => {
  const { model } = cases['a vision transformer']!
  const description = { classes: ['cat', 'größer'], classCount: classes, resolution: 32, channels: 3 } as TrainedModel
  const file = decodeModel(exportOnnx(model, weightsOf(model), description, { preprocessing: false, softmax: false }))
  t.is(file.producerName, 'autoprog')
  t.deepEqual(file.opsetImport, [{ domain: '', version: 17 }])
  const texts = Object.fromEntries(file.metadataProps.map(({ key, value }) => [key, value]))
  t.deepEqual(JSON.parse(texts.classes!), ['cat', 'größer'])
  const names = file.graph.initializer.map(({ name }) => name)
  for (const { name } of model.parameters)
    t.true(
      names.some((each) => each === name || each.startsWith(`${name}.transposed`) || each.startsWith(`${name}[`)),
      name,
    )
  t.true(
    file.graph.node.some(({ name }) => name === 'blocks.0.attn.qkv/MatMul'),
    file.graph.node.map(({ name }) => name).join(' '),
  )
})
