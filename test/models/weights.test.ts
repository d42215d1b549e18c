import { createModel } from '../../lib/models/registry.js'
import { matchWeights } from '../../lib/models/weights.js'
import { checkError } from '../error.js'
import { test } from '../serial.js'

test('weights that do not fit are listed in one error', (t) => {
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

test('the weights of a checkpoint are those of the copy asked for', (t) => {
  const model = createModel('vit', { imageSize: 8, patchSize: 8, embedDim: 4, depth: 1, heads: 1, classes: 3 })
  const filled = (value: number) =>
    model.parameters.map(({ name, shape }) => [
      name,
      { shape, values: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value) },
    ]) as [string, { shape: readonly number[]; values: Float32Array }][]
  const tensors = new Map(
    ['weights', 'moment1', 'ema0'].flatMap((arena, index) =>
      filled(index).map(([name, tensor]) => [`${arena}/${name}`, tensor] as const),
    ),
  )
  t.deepEqual([...matchWeights('w', { tensors }, model).values()][0]![0], 0)
  const average = matchWeights('w', { tensors }, model, 'ema0')
  t.is(average.size, model.parameters.length)
  t.true([...average.values()].every((values) => values.every((value) => value === 2)))
  checkError(
    t,
    t.throws(() => matchWeights('w', { tensors }, model, 'ema1')),
    { code: 'CHECKPOINT', message: 'w holds no average ema1: it holds weights, ema0 alone', hint: /Leave the name/ },
  )
  checkError(
    t,
    t.throws(() => matchWeights('w', { tensors: new Map(filled(1)) }, model, 'ema0')),
    { code: 'CHECKPOINT', message: 'w holds no average ema0: it holds one copy of the weights alone' },
  )
  const other = createModel('vit', { imageSize: 8, patchSize: 8, embedDim: 8, depth: 4, heads: 1, classes: 3 })
  const { message } = t.throws(() => matchWeights('w', { tensors }, other))!
  t.is(message.split('\n').length, 1 + 8 + 1)
  t.regex(message, /\n {2}and \d+ more$/)
})
