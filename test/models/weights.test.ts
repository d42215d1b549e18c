import { createModel } from '../../lib/models/registry.js'
import { matchWeights } from '../../lib/models/weights.js'
import { test } from '../serial.js'

test('weights that do not fit are listed whole in one error', (t) => {
  const model = createModel('vit', { imageSize: 8, patchSize: 8, embedDim: 4, depth: 1, heads: 1, classes: 3 })
  const tensors = new Map(
    model.parameters.map(({ name, shape }) => [
      name,
      { shape, values: new Float32Array(shape.reduce((a, b) => a * b, 1)) },
    ]),
  )
  t.is(matchWeights('w', { tensors }, model).size, model.parameters.length)
  const other = new Map<string, { shape: readonly number[]; values: Float32Array | Int32Array }>(tensors)
  other.delete('cls_token')
  other.set('head.bias', { shape: [5], values: new Float32Array(5) })
  other.set('norm.bias', { shape: [4], values: new Int32Array(4) })
  other.set('extra', { shape: [1], values: new Float32Array(1) })
  const { message } = t.throws(() => matchWeights('w', { tensors: other }, model))!
  for (const line of [
    'cls_token is missing',
    'head.bias has shape [5] instead of [3]',
    'norm.bias is not F32',
    'extra is not a parameter of the model',
  ])
    t.true(message.includes(line), line)
})
