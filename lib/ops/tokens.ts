import type { Graph } from '../graph/graph.js'
import { addNode, shapeError } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { lastOf, rowsOf, sizeOf } from '../graph/tensor.js'
import { defineOp, noCost } from './define.js'

type None = Record<string, never>
type Grids = { from: number; to: number }

/** dy (B, N + 1, D) -> dpatches (=), dclass (+=), dposition (=). */
const tokensGradient = defineOp<None>('tokensGradient', {
  infer: ([dy]) => {
    const [batch, tokens, width] = dy!.shape as [number, number, number]
    return [{ shape: [batch, tokens - 1, width] }, { shape: [1, 1, width] }, { shape: [tokens, width] }]
  },
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  storage: { outputs: { 0: 'any' } },
  attributes: [],
})

const tokensOp = defineOp<None>('tokens', {
  infer: ([patches, classToken, position]) => {
    const [batch, count, width] = patches!.shape as [number, number, number]
    if (sizeOf(classToken!.shape) !== width)
      throw shapeError('tokens', 'the class token', [1, 1, width], classToken!.shape)
    if (sizeOf(position!.shape) !== (count + 1) * width)
      throw shapeError('tokens', 'the position', [count + 1, width], position!.shape)
    return [{ shape: [batch, count + 1, width] }]
  },
  cost: noCost,
  gradient: ({ graph, gradients, accumulator }) => {
    const [dpatches, , dposition] = addNode(graph, tokensGradient, [gradients[0]!], {}, [undefined, accumulator(1)])
    return [dpatches, undefined, dposition]
  },
  precision: 'full',
  storage: { inputs: { 0: 'any' } },
  attributes: [],
})

/** dy (1 + to^2, D) -> dposition (1, 1 + from^2, D) (+=). */
const resizePositionGradient = defineOp<Grids>('resizePositionGradient', {
  infer: ([dy], { from }) => [{ shape: [1, 1 + from ** 2, lastOf(dy!)] }],
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  attributes: ['from', 'to'],
})

const resizePositionOp = defineOp<Grids>('resizePosition', {
  infer: ([position], { from, to }) => {
    if (rowsOf(position!) !== 1 + from ** 2)
      throw shapeError('resizePosition', 'the position', `[1, ${1 + from ** 2}, width]`, position!.shape)
    return [{ shape: [1 + to ** 2, lastOf(position!)] }]
  },
  cost: noCost,
  gradient: ({ graph, attributes, gradients, accumulator }) => {
    addNode(graph, resizePositionGradient, [gradients[0]!], attributes, [accumulator(0)])
    return [undefined]
  },
  precision: 'full',
  attributes: ['from', 'to'],
})

/** dy (B, 1, D) -> dx (B, N, D) (=), zero but for the first token. */
const selectTokenGradient = defineOp<{ tokens: number }>('selectTokenGradient', {
  infer: ([dy], { tokens }) => [{ shape: [dy!.shape[0]!, tokens, lastOf(dy!)] }],
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  storage: { inputs: { 0: 'any' }, outputs: { 0: 'any' } },
  attributes: ['tokens'],
})

const selectTokenOp = defineOp<{ tokens: number }>('selectToken', {
  infer: ([x]) => [{ shape: [x!.shape[0]!, 1, lastOf(x!)] }],
  cost: noCost,
  gradient: ({ graph, attributes, gradients }) => addNode(graph, selectTokenGradient, [gradients[0]!], attributes),
  precision: 'full',
  storage: { inputs: { 0: 'any' }, outputs: { 0: 'any' } },
  attributes: ['tokens'],
})

/** The class token before the patches, plus the position embedding: (B, N, D), (1, 1, D), (N + 1, D) -> (B, N + 1, D). */
export function tokens(graph: Graph, patches: Tensor, classToken: Tensor, position: Tensor): Tensor {
  return addNode(graph, tokensOp, [patches, classToken, position], {})[0]!
}

/**
 * The position embedding (1, 1 + from^2, D) for a grid of to x to: bicubic (a = -0.75, half-pixel centres, no antialias)
 * over the grid, the class token's row as it is.
 */
export function resizePosition(graph: Graph, position: Tensor, from: number, to: number): Tensor {
  return addNode(graph, resizePositionOp, [position], { from, to })[0]!
}

/** The first token: (B, N, D) -> (B, 1, D). */
export function selectToken(graph: Graph, x: Tensor): Tensor {
  return addNode(graph, selectTokenOp, [x], { tokens: x.shape[1]! })[0]!
}
