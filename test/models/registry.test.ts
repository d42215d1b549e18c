import { createModel, modelNames } from '../../lib/models/registry.js'
import { checkError } from '../error.js'
import { test } from '../serial.js'

const configuration = { imageSize: 32, patchSize: 8, embedDim: 24, depth: 2, heads: 2, classes: 5 }

test("DeiT's parameters carry timm's names and shapes", (t) => {
  const model = createModel('deit_tiny_patch16_224')
  const shapes = new Map(model.parameters.map(({ name, shape }) => [name, shape.join()]))
  t.is(shapes.size, 8 + 12 * 12)
  t.is(shapes.get('cls_token'), '1,1,192')
  t.is(shapes.get('pos_embed'), '1,197,192')
  t.is(shapes.get('patch_embed.proj.weight'), '192,3,16,16')
  t.is(shapes.get('blocks.11.attn.qkv.weight'), '576,192')
  t.is(shapes.get('blocks.0.mlp.fc1.bias'), '768')
  t.is(shapes.get('head.weight'), '1000,192')
  t.is(model.parameterCount(), 5_717_416)
})

test('weight decay spares biases, norms, class token and position', (t) => {
  const { parameters } = createModel('vit', configuration)
  const decayed = parameters.filter((parameter) => parameter.decayed).map(({ name }) => name)
  t.deepEqual(
    decayed.filter((name) => !name.startsWith('blocks.1.')),
    [
      'patch_embed.proj.weight',
      'blocks.0.attn.qkv.weight',
      'blocks.0.attn.proj.weight',
      'blocks.0.mlp.fc1.weight',
      'blocks.0.mlp.fc2.weight',
      'head.weight',
    ],
  )
})

test('every registered model can be made, for other data too', (t) => {
  for (const name of modelNames()) {
    const model = createModel(name).withData({ classes: 7, channels: 1 })
    t.is(model.classes, 7)
    t.is(model.mean.length, 1)
    t.true(model.flops() > 0)
  }
})

test('what cannot be made is named, with the nearest name', (t) => {
  const error = t.throws(() => createModel('deit_tinny_patch16_224'))
  checkError(t, error, {
    message: /There is no model "deit_tinny_patch16_224"/,
    hint: /Did you mean deit_tiny_patch16_224\?/,
  })
  const wrong = (change: object, pattern: RegExp) =>
    t.throws(() => createModel('vit', { ...configuration, ...change }), { message: pattern })
  wrong({ patchSize: 7 }, /a multiple of the patch size 7 for imageSize/)
  wrong({ heads: 5 }, /a multiple of the 5 heads for embedDim/)
  wrong({ depth: 0 }, /a positive integer for depth/)
  wrong({ classes: Number.NaN }, /a positive integer for classes/)
  wrong({ channels: 2 }, /1 or 3 for channels/)
  wrong({ mlpRatio: 1.01 }, /a ratio that gives a whole width/)
  wrong({ deviation: [0, 1, 1] }, /3 numbers for deviation/)
})

test('numbers of blocks that no memory would hold are refused at once', (t) => {
  const numbers = { imageSize: 16, patchSize: 8, embedDim: 8, heads: 2, classes: 3 }
  t.throws(() => createModel('vit', { ...numbers, depth: 100_000_000 }), {
    code: 'CONFIG',
    message: 'Expected a positive integer up to 4096 for depth of the vit but received 100000000',
  })
  t.throws(() => createModel('resnet', { block: 'basic', layers: [2, 1e8], imageSize: 32, classes: 3 }), {
    code: 'CONFIG',
    message: /a list of positive integers up to 4096/,
  })
})
