import { differentiate } from '../../lib/graph/autodiff.js'
import { verify } from '../../lib/graph/compile.js'
import type { Graph } from '../../lib/graph/graph.js'
import { addInput, addOutput, addTensor, createGraph, formatGraph } from '../../lib/graph/graph.js'
import { lowerPrecision } from '../../lib/graph/precision.js'
import { add, attention, cast, definedOps, layerNorm, linear, residualNorm } from '../../lib/ops/index.js'
import { test } from '../serial.js'

/** A residual attention branch with its norms and a head, backward pass included. */
function branch(): Graph {
  const graph = createGraph()
  let offset = 16
  const parameter = (name: string, shape: number[]) => {
    const tensor = addTensor(graph, name, shape, { arena: 'weights', offset })
    offset += 16 * Math.ceil(shape.reduce((a, b) => a * b, 1) / 16)
    return tensor
  }
  const x = addInput(graph, 'x', [2, 3, 4], 'f32')
  const first = layerNorm(graph, x, parameter('g1', [4]), parameter('b1', [4]), 1e-6)
  const y = attention(graph, linear(graph, first, parameter('qkv', [12, 4])), 1)
  const { y: second } = residualNorm(graph, x, y, parameter('g2', [4]), parameter('b2', [4]), 1e-6)
  const logits = linear(graph, second, parameter('head', [5, 4]))
  addOutput(graph, 'logits', logits, true)
  const gradient = addInput(graph, 'dlogits', [2, 3, 5], 'f32')
  differentiate(graph, [{ tensor: logits, gradient }], add)
  return graph
}

test('lowerPrecision: keeps residual stream, statistics and gradients of parameters in f32, and casts what is left', (t) => {
  const lowered = lowerPrecision(branch(), 'bf16', cast)
  verify(lowered)
  t.is(
    formatGraph(lowered),
    [
      'begin weights#35[100]bf16 = cast(weights#34[100])',
      'micro layerNorm0#3[2, 3, 4]bf16, layerNorm0#4[6, 2] = layerNorm(x#0[2, 3, 4], g1#1[4], b1#2[4]) {epsilon: 0.000001}',
      'micro linear1#6[2, 3, 12]bf16 = linear(layerNorm0#3[2, 3, 4]bf16, qkv#28[12, 4]bf16)',
      'micro attention2#7[2, 3, 4]bf16, attention2#8[2, 1, 3] = attention(linear1#6[2, 3, 12]bf16) {heads: 1}',
      'micro residualNorm3#11[2, 3, 4], residualNorm3#12[2, 3, 4]bf16, residualNorm3#13[6, 2] = residualNorm(x#0[2, 3, 4], attention2#7[2, 3, 4]bf16, g2#9[4], b2#10[4]) {epsilon: 0.000001, path: 0}',
      'micro linear4#15[2, 3, 5] = linear(residualNorm3#12[2, 3, 4]bf16, head#29[5, 4]bf16)',
      'micro dlogits:bf16#30[2, 3, 5]bf16 = cast(dlogits#16[2, 3, 5])',
      'micro d head#17[5, 4] = linearGradientWeight(dlogits:bf16#30[2, 3, 5]bf16, residualNorm3#12[2, 3, 4]bf16) {biased: 0}',
      'micro linearGradientInput6#18[2, 3, 4]bf16 = linearGradientInput(dlogits:bf16#30[2, 3, 5]bf16, head#31[5, 4]bf16)',
      'micro layerNormGradient7#21[2, 3, 4], d g2#19[4], d b2#20[4], layerNormGradient7:bf16#32[2, 3, 4]bf16 = layerNormGradient(linearGradientInput6#18[2, 3, 4]bf16, residualNorm3#11[2, 3, 4], residualNorm3#13[6, 2], g2#9[4])',
      'micro attentionGradient8#22[2, 3, 12]bf16 = attentionGradient(layerNormGradient7:bf16#32[2, 3, 4]bf16, attention2#7[2, 3, 4]bf16, attention2#8[2, 1, 3], linear1#6[2, 3, 12]bf16) {heads: 1}',
      'micro d qkv#23[12, 4] = linearGradientWeight(attentionGradient8#22[2, 3, 12]bf16, layerNorm0#3[2, 3, 4]bf16) {biased: 0}',
      'micro linearGradientInput10#24[2, 3, 4]bf16 = linearGradientInput(attentionGradient8#22[2, 3, 12]bf16, qkv#33[12, 4]bf16)',
      'micro layerNormGradient11#27[2, 3, 4], d g1#25[4], d b1#26[4] = layerNormGradient(linearGradientInput10#24[2, 3, 4]bf16, x#0[2, 3, 4], layerNorm0#4[6, 2], g1#1[4])',
    ].join('\n'),
  )
})

test('lowerPrecision: leaves the graph it is given as it was', (t) => {
  const graph = branch()
  const before = formatGraph(graph)
  lowerPrecision(graph, 'f16', cast)
  t.is(formatGraph(graph), before)
})

test('lowerPrecision: storage is declared for operands that exist, and additional copies stand at the end', (t) => {
  for (const { name, storage, precision } of definedOps()) {
    for (const side of ['inputs', 'outputs'] as const)
      for (const [index, value] of Object.entries(storage?.[side] ?? {}))
        t.true(Number(index) < 8 && value !== precision, `${name}: ${side} ${index} says what its class says`)
  }
})
