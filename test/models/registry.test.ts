import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createModel, modelNames } from '../../lib/models/registry.js'

const configuration = { imageSize: 32, patchSize: 8, embedDim: 24, depth: 2, heads: 2, classes: 5 }

test("DeiT's parameters carry timm's names and shapes", () => {
  const model = createModel('deit_tiny_patch16_224')
  const shapes = new Map(model.parameters.map(({ name, shape }) => [name, shape.join()]))
  assert.equal(shapes.size, 8 + 12 * 12)
  assert.equal(shapes.get('cls_token'), '1,1,192')
  assert.equal(shapes.get('pos_embed'), '1,197,192')
  assert.equal(shapes.get('patch_embed.proj.weight'), '192,3,16,16')
  assert.equal(shapes.get('blocks.11.attn.qkv.weight'), '576,192')
  assert.equal(shapes.get('blocks.0.mlp.fc1.bias'), '768')
  assert.equal(shapes.get('head.weight'), '1000,192')
  assert.equal(model.parameterCount(), 5_717_416)
})

test('weight decay spares biases, norms, class token and position', () => {
  const { parameters } = createModel('vit', configuration)
  const decayed = parameters.filter((parameter) => parameter.decayed).map(({ name }) => name)
  assert.deepEqual(
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

test('every registered model can be made, for other data too', () => {
  for (const name of modelNames()) {
    const model = createModel(name).withData({ classes: 7, channels: 1 })
    assert.equal(model.classes, 7)
    assert.equal(model.mean.length, 1)
    assert.ok(model.flops() > 0)
  }
})

test('what cannot be made is named, with the nearest name', () => {
  assert.throws(
    () => createModel('deit_tinny_patch16_224'),
    (error: Error & { hint?: string }) => {
      assert.match(error.message, /There is no model "deit_tinny_patch16_224"/)
      assert.match(error.hint!, /Did you mean deit_tiny_patch16_224\?/)
      return true
    },
  )
  const wrong = (change: object, pattern: RegExp) =>
    assert.throws(() => createModel('vit', { ...configuration, ...change }), pattern)
  wrong({ patchSize: 7 }, /a multiple of the patch size 7 for imageSize/)
  wrong({ heads: 5 }, /a multiple of the 5 heads for embedDim/)
  wrong({ depth: 0 }, /a positive integer for depth/)
  wrong({ classes: Number.NaN }, /a positive integer for classes/)
  wrong({ channels: 2 }, /1 or 3 for channels/)
  wrong({ mlpRatio: 1.01 }, /a ratio that gives a whole width/)
  wrong({ deviation: [0, 1, 1] }, /3 numbers for deviation/)
})
