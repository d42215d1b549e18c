import { differentiate } from '../../lib/graph/autodiff.js'
import { compile, verify } from '../../lib/graph/compile.js'
import type { Graph } from '../../lib/graph/graph.js'
import { addInput, addOutput, addTensor, createGraph, formatGraph } from '../../lib/graph/graph.js'
import { lifetimes, planMemory } from '../../lib/graph/memory.js'
import { bytesOf } from '../../lib/graph/tensor.js'
import { layoutOf } from '../../lib/models/parameters.js'
import { createModel } from '../../lib/models/registry.js'
import { add, crossEntropy, layerNorm, linear, linearGelu, zero } from '../../lib/ops/index.js'
import { buildProgram } from '../../lib/session/programs.js'
import type { ProgramRequest } from '../../lib/session/request.js'
import { test } from '../serial.js'

const settings = {
  ...{ classWeight: 1, denseWeight: 0.5 },
  precision: 'fp32',
  averages: [0.99],
  lossScale: { growth: 2, backoff: 0.5, interval: 2000 },
} as const

function smallGraph(): Graph {
  const graph = createGraph()
  let offset = 0
  const parameter = (name: string, shape: number[]) => {
    const tensor = addTensor(graph, name, shape, { arena: 'weights', offset })
    offset += shape.reduce((a, b) => a * b, 1)
    return tensor
  }
  const x = addInput(graph, 'x', [2, 3], 'f32')
  const y = layerNorm(graph, x, parameter('gamma', [3]), parameter('beta', [3]), 1e-6)
  const h = linearGelu(graph, y, parameter('w1', [4, 3]), parameter('b1', [4]))
  const logits = linear(graph, h, parameter('w2', [2, 4]), parameter('b2', [2]))
  graph.phase = 'begin'
  const loss = addTensor(graph, 'loss', [1])
  zero(graph, loss)
  graph.phase = 'micro'
  crossEntropy(graph, logits, addInput(graph, 'targets', [2, 2], 'f32'), 2, loss)
  addOutput(graph, 'loss', loss, false)
  differentiate(graph, [{ tensor: loss, gradient: loss }], add)
  return graph
}

test('the graph: prints as it is, backward pass included', (t) => {
  // Nothing needs the gradient of x, so the first layer only passes gradients to its parameters.
  t.is(
    formatGraph(smallGraph()),
    [
      'micro layerNorm0#3[2, 3], layerNorm0#4[2, 2] = layerNorm(x#0[2, 3], gamma#1[3], beta#2[3]) {epsilon: 0.000001}',
      'micro linearGelu1#7[2, 4], linearGelu1#8[2, 4] = linearGelu(layerNorm0#3[2, 3], w1#5[4, 3], b1#6[4])',
      'micro linear2#11[2, 2] = linear(linearGelu1#8[2, 4], w2#9[2, 4], b2#10[2])',
      'begin loss#12[1] = zero() {shape: [1]}',
      'micro loss#12[1], crossEntropy4#14[2, 2] = crossEntropy(linear2#11[2, 2], targets#13[2, 2]) {divisor: 2}',
      'micro d w2#16[2, 4], d b2#15[2] = linearGradientWeight(crossEntropy4#14[2, 2], linearGelu1#8[2, 4]) {biased: 1}',
      'micro linearGradientInput6#17[2, 4] = linearGradientInput(crossEntropy4#14[2, 2], w2#9[2, 4])',
      'micro geluGradient7#18[2, 4] = geluGradient(linearGradientInput6#17[2, 4], linearGelu1#7[2, 4])',
      'micro d w1#20[4, 3], d b1#19[4] = linearGradientWeight(geluGradient7#18[2, 4], layerNorm0#3[2, 3]) {biased: 1}',
      'micro linearGradientInput9#21[2, 3] = linearGradientInput(geluGradient7#18[2, 4], w1#5[4, 3])',
      'micro layerNormGradient10#24[2, 3], d gamma#22[3], d beta#23[3] = layerNormGradient(linearGradientInput9#21[2, 3], x#0[2, 3], layerNorm0#4[2, 2], gamma#1[3])',
    ].join('\n'),
  )
})

test('the graph: names op, argument and shapes where they do not fit', (t) => {
  const graph = createGraph()
  const x = addInput(graph, 'x', [2, 3], 'f32')
  const weight = addTensor(graph, 'w', [4, 5], { arena: 'weights', offset: 0 })
  t.throws(() => linear(graph, x, weight), {
    message: /linear: Expected shape \[4, 3\] for weight but received \[4, 5\]/,
  })
})

test('the graph: refuses to read what nothing has written', (t) => {
  const graph = createGraph()
  const weight = addTensor(graph, 'w', [4, 3], { arena: 'weights', offset: 0 })
  linear(graph, addTensor(graph, 'x', [2, 3]), weight)
  t.throws(() => verify(graph), { message: /linear reads x, which nothing has written/ })
})

const request: ProgramRequest = {
  kind: 'step',
  batch: 4,
  microBatch: 4,
  images: { type: 'u8', height: 32, width: 32, pad: 2 },
  resolution: 32,
  layers: [0, 1, 3],
  targets: 'labels',
  smoothing: 0.1,
  keep: [0, 0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3],
  weights: 'weights',
  imageGradient: false,
  erase: false,
  mix: 'none',
  tokenTargets: 'none',
  positions: false,
  features: false,
  mode: 'train',
}

test('the memory plan: never lets tensors that live at the same time overlap, and is smaller than their sum', (t) => {
  const graph = smallGraph()
  const { offsets, bytes } = planMemory(graph)
  const lives = lifetimes(graph)
  const placed = graph.tensors.filter((tensor) => offsets.has(tensor.id))
  t.true(placed.length > 8)
  for (const a of placed)
    for (const b of placed) {
      if (a.id >= b.id) continue
      const [lifeA, lifeB] = [lives.get(a.id)!, lives.get(b.id)!]
      const apart =
        offsets.get(a.id)! + bytesOf(a) <= offsets.get(b.id)! || offsets.get(b.id)! + bytesOf(b) <= offsets.get(a.id)!
      t.true(apart || lifeA.last < lifeB.first || lifeB.last < lifeA.first, `${a.name} and ${b.name}`)
    }
  t.true(placed.every((tensor) => offsets.get(tensor.id)! + bytesOf(tensor) <= bytes))
  const program = buildProgram(request, createModel('vit_micro'), layoutOf(createModel('vit_micro')), settings)
  const sum = program.tensors
    .filter(({ arena }) => arena === 0)
    .reduce((total, { shape, type }) => total + bytesOf({ shape, type }), 0)
  t.true(program.activationBytes < 0.75 * sum, `${program.activationBytes} of ${sum}`)
})

test('the memory plan: is the same for the same request', (t) => {
  const build = () => buildProgram(request, createModel('vit_micro'), layoutOf(createModel('vit_micro')), settings)
  t.deepEqual(build(), build())
  t.deepEqual(compile(smallGraph(), 2, 2), compile(smallGraph(), 2, 2))
})

test('the memory plan: keeps to half the memory with half the micro-batch', (t) => {
  const build = (microBatch: number) =>
    buildProgram({ ...request, microBatch }, createModel('vit_micro'), layoutOf(createModel('vit_micro')), settings)
      .activationBytes
  t.true(build(2) < 0.55 * build(4))
})
