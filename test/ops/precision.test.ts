import type { Graph } from '../../lib/graph/graph.js'
import type { Tensor } from '../../lib/graph/tensor.js'
import {
  addPosition,
  addTokenMax,
  attention,
  classAttention,
  convolution,
  layerNorm,
  linear,
  linearGelu,
  mixTokens,
  outlookAttention,
  patches,
  prependToken,
  residualNorm,
  selectToken,
  tokens,
} from '../../lib/ops/index.js'
import { openTestDevice } from '../device.js'
import { test } from '../serial.js'
import type { OpCase, OpInput } from './harness.js'
import { randomValues } from './harness.js'
import { testReduced } from './reduced.js'

const device = await openTestDevice()
test.after.always(() => device.close())

let seed = 300
const activation = (...shape: number[]): OpInput => ({ shape, values: randomValues(shape, seed++) })
const parameter = (...shape: number[]): OpInput => ({
  shape,
  values: randomValues(shape, seed++, 0.5),
  parameter: true,
})

// Attention's inputs and outputs pass through a linear layer each, as they do in a network, so that they are held in 16
// bits: its own operands would stay f32 where they are the program's.
const attentionCase = (batch: number, count: number, heads: number, size: number): OpCase => ({
  name: `attention, ${count} tokens, ${heads} heads of ${size}`,
  inputs: { x: activation(batch, count, 8), qkv: parameter(3 * heads * size, 8) },
  build: (graph, { x, qkv }) => ({ y: attention(graph, linear(graph, x!, qkv!), heads) }),
})

const outlookCase = (batch: number, extent: number, heads: number, size: number, stride: number): OpCase => {
  const windows = Math.ceil(extent / stride)
  return {
    name: `outlook attention, ${extent} x ${extent}, ${heads} heads of ${size}, stride ${stride}`,
    inputs: {
      x: activation(batch, extent, extent, 8),
      pooled: activation(batch, windows, windows, 8),
      ...{ values: parameter(heads * size, 8), scores: parameter(heads * 81, 8) },
    },
    build: (graph, { x, pooled, values, scores }) => ({
      y: outlookAttention(graph, linear(graph, x!, values!), linear(graph, pooled!, scores!), {
        ...{ heads, kernel: 3, stride, padding: 1 },
      }),
    }),
  }
}

const cases: OpCase[] = [
  attentionCase(2, 1, 1, 32),
  attentionCase(2, 5, 2, 64),
  attentionCase(1, 50, 2, 32),
  attentionCase(1, 101, 1, 64),
  attentionCase(1, 197, 1, 32),
  attentionCase(2, 20, 2, 12), // a head size of the plain kernels
  {
    name: 'class attention',
    inputs: { x: activation(2, 70, 8), q: parameter(64, 8), kv: parameter(128, 8) },
    build: (graph, { x, q, kv }) => {
      const query = linear(graph, selectToken(graph, x!), q!)
      return { y: classAttention(graph, query, linear(graph, x!, kv!), 2) }
    },
  },
  outlookCase(2, 7, 2, 32, 2),
  outlookCase(1, 4, 3, 5, 1), // heads that are moved value by value
  {
    name: 'tokens before others, positions and a maximum',
    inputs: {
      x: activation(3, 6, 8),
      ...{ embed: parameter(12, 8), position: parameter(6, 12), token: parameter(1, 1, 12) },
      ...{ inner: parameter(12, 12), head: parameter(5, 12) },
    },
    build: (graph, t) => {
      const positioned = addPosition(graph, linear(graph, t.x!, t.embed!), t.position!)
      const first = prependToken(graph, positioned, t.token!)
      const y = linear(graph, first, t.inner!)
      const second = linear(graph, prependToken(graph, y, linear(graph, selectToken(graph, y), t.inner!)), t.head!)
      return { y: addTokenMax(graph, linear(graph, selectToken(graph, y), t.head!), second, 0.5) }
    },
  },
  {
    name: 'maps with a box of their partners',
    inputs: { x: activation(4, 5, 6, 8), weight: parameter(10, 8), head: parameter(3, 10) },
    constants: { box: { shape: [4], values: Int32Array.of(0, 1, 2, 3) } },
    build: (graph, { x, weight, head, box }) => ({
      y: linear(graph, mixTokens(graph, linear(graph, x!, weight!), box!, 2), head!),
    }),
  },
  {
    name: 'an MLP with its norms',
    inputs: {
      x: activation(2, 9, 24),
      ...{ g1: parameter(24), b1: parameter(24), g2: parameter(24), b2: parameter(24) },
      ...{ w1: parameter(40, 24), c1: parameter(40), w2: parameter(24, 40), c2: parameter(24), head: parameter(6, 24) },
    },
    build: (graph: Graph, t: Readonly<Record<string, Tensor>>) => {
      const h = linearGelu(graph, layerNorm(graph, t.x!, t.g1!, t.b1!, 1e-6), t.w1!, t.c1!)
      const branch = linear(graph, h, t.w2!, t.c2!)
      const { sum, y } = residualNorm(graph, t.x!, branch, t.g2!, t.b2!, 1e-6)
      return { sum, y: linear(graph, y, t.head!) }
    },
  },
  {
    name: 'patch embedding',
    inputs: {
      images: activation(2, 8, 12, 3),
      weight: parameter(10, 3, 4, 4),
      bias: parameter(10),
      classToken: parameter(1, 1, 10),
      position: parameter(7, 10),
    },
    build: (graph, { images, weight, bias, classToken, position }) => ({
      y: tokens(graph, linear(graph, patches(graph, images!, 4), weight!, bias!), classToken!, position!),
    }),
  },
  {
    name: 'convolutions',
    inputs: {
      images: activation(2, 7, 6, 3),
      stem: parameter(8, 3, 3, 3),
      wide: parameter(6, 8, 3, 3),
      ...{ bias: parameter(6), short: parameter(6, 8, 1, 1), head: parameter(5, 6, 1, 1) },
    },
    build: (graph, { images, stem, wide, bias, short, head }) => {
      const x = convolution(graph, images!, stem!, { stride: 1, padding: 1 })
      const branch = convolution(graph, x, wide!, { stride: 2, padding: 1 }, bias)
      return {
        y: convolution(graph, branch, head!, { stride: 1, padding: 0 }),
        short: convolution(graph, x, short!, { stride: 2, padding: 0 }),
      }
    },
  },
]

for (const opCase of cases) testReduced(`ops in reduced precision: ${opCase.name}`, device, opCase)
