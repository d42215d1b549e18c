import type { Graph } from '../graph/graph.js'
import { addNode, shapeError } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { defineOp, noCost } from './define.js'

type Heads = { heads: number }

/** Scores and weighted values: 2 M N D multiply-adds an image. */
const attentionCost = (batch: number, queries: number, keys: number, width: number) =>
  2 * batch * queries * keys * width

function inferAttention(name: string, query: Tensor, width: number, heads: number) {
  if (query.shape.length !== 3) throw shapeError(name, 'the queries', '[batch, tokens, width]', query.shape)
  if (width % heads !== 0) throw shapeError(name, 'the queries', `a width that ${heads} heads divide`, query.shape)
  const [batch, queries] = query.shape as [number, number]
  return [{ shape: [batch, queries, width] }, { shape: [batch, heads, queries] }]
}

/** dy, y, log-sum-exp, qkv -> dqkv (=). */
const attentionGradient = defineOp<Heads>('attentionGradient', {
  infer: (inputs) => [{ shape: inputs[3]!.shape }],
  cost: noCost,
  gradient: 'none',
  precision: 'low',
  storage: { inputs: { 2: 'full' } },
  attributes: ['heads'],
})

const attentionOp = defineOp<Heads>('attention', {
  infer: ([qkv], { heads }) => {
    if (qkv!.shape.at(-1)! % 3 !== 0) throw shapeError('attention', 'qkv', '[batch, tokens, 3 width]', qkv!.shape)
    return inferAttention('attention', qkv!, qkv!.shape.at(-1)! / 3, heads)
  },
  cost: (_, [y]) => attentionCost(y!.shape[0]!, y!.shape[1]!, y!.shape[1]!, y!.shape[2]!),
  gradient: ({ graph, inputs, outputs, attributes, gradients }) =>
    addNode(graph, attentionGradient, [gradients[0]!, outputs[0]!, outputs[1]!, inputs[0]!], attributes),
  precision: 'low',
  storage: { outputs: { 1: 'full' } },
  attributes: ['heads'],
})

/** dy, y, log-sum-exp, q, kv -> dq (=), dkv (=). */
const classAttentionGradient = defineOp<Heads>('classAttentionGradient', {
  infer: (inputs) => [{ shape: inputs[3]!.shape }, { shape: inputs[4]!.shape }],
  cost: noCost,
  gradient: 'none',
  precision: 'low',
  storage: { inputs: { 2: 'full' } },
  attributes: ['heads'],
})

const classAttentionOp = defineOp<Heads>('classAttention', {
  infer: ([q, kv], { heads }) => {
    const [batch, , width] = q!.shape as [number, number, number]
    if (kv!.shape.length !== 3 || kv!.shape[0] !== batch || kv!.shape[2] !== 2 * width)
      throw shapeError('classAttention', 'kv', `[${batch}, tokens, ${2 * width}]`, kv!.shape)
    return inferAttention('classAttention', q!, width, heads)
  },
  cost: ([q, kv]) => attentionCost(q!.shape[0]!, q!.shape[1]!, kv!.shape[1]!, q!.shape[2]!),
  gradient: ({ graph, inputs, outputs, attributes, gradients }) =>
    addNode(
      graph,
      classAttentionGradient,
      [gradients[0]!, outputs[0]!, outputs[1]!, inputs[0]!, inputs[1]!],
      attributes,
    ),
  precision: 'low',
  storage: { outputs: { 1: 'full' } },
  attributes: ['heads'],
})

/** Multi-head softmax attention with scale headDim^-0.5: qkv (B, N, 3 D), ordered q, k, v, then heads -> (B, N, D). */
export function attention(graph: Graph, qkv: Tensor, heads: number): Tensor {
  return addNode(graph, attentionOp, [qkv], { heads })[0]!
}

/** The same with fewer queries than keys: q (B, M, D), kv (B, N, 2 D) -> (B, M, D). */
export function classAttention(graph: Graph, q: Tensor, kv: Tensor, heads: number): Tensor {
  return addNode(graph, classAttentionOp, [q, kv], { heads })[0]!
}
