import type { Graph } from '../graph/graph.js'
import { addNode, shapeError } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { formatShape, lastOf, rowsOf, sizeOf } from '../graph/tensor.js'
import { defineOp, noCost } from './define.js'
import { sumImages } from './sum-images.js'

type None = Record<string, never>

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

/** dy (B, N - 1, D) -> dx (B, N, D) (=), zero for the first token. */
const dropTokenGradient = defineOp<None>('dropTokenGradient', {
  infer: ([dy]) => [{ shape: [dy!.shape[0]!, dy!.shape[1]! + 1, lastOf(dy!)] }],
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  storage: { inputs: { 0: 'any' }, outputs: { 0: 'any' } },
  attributes: [],
})

const dropTokenOp = defineOp<None>('dropToken', {
  infer: ([x]) => {
    if (x!.shape.length !== 3 || x!.shape[1]! < 2)
      throw shapeError('dropToken', 'x', '[batch, 2 or more, width]', x!.shape)
    return [{ shape: [x!.shape[0]!, x!.shape[1]! - 1, lastOf(x!)] }]
  },
  cost: noCost,
  gradient: ({ graph, gradients }) => addNode(graph, dropTokenGradient, [gradients[0]!], {}),
  precision: 'full',
  storage: { inputs: { 0: 'any' }, outputs: { 0: 'any' } },
  attributes: [],
})

const prependTokenOp = defineOp<None>('prependToken', {
  infer: ([x, token]) => {
    const [batch, count, width] = x!.shape as [number, number, number]
    if (x!.shape.length !== 3) throw shapeError('prependToken', 'the tokens', '[batch, tokens, width]', x!.shape)
    const wanted = [token!.shape[0] === 1 ? 1 : batch, 1, width]
    if (formatShape(token!.shape) !== formatShape(wanted))
      throw shapeError('prependToken', 'the token', wanted, token!.shape)
    return [{ shape: [batch, count + 1, width] }]
  },
  cost: noCost,
  gradient: ({ graph, inputs, gradients, needs }) => {
    const dy = gradients[0]!
    const dtoken = () => {
      const ofImages = selectToken(graph, dy)
      return inputs[1]!.shape[0] === dy.shape[0] ? ofImages : sumImages(graph, ofImages)
    }
    return [needs(0) ? dropToken(graph, dy) : undefined, needs(1) ? dtoken() : undefined]
  },
  precision: 'full',
  storage: { inputs: { 0: 'any', 1: 'any' }, outputs: { 0: 'any' } },
  attributes: [],
})

/** dy (B, C), at (B, C) -> dx (B, N, C) (=): scale dy for the token that was the maximum, 0 for all others. */
const addTokenMaxGradient = defineOp<{ scale: number; tokens: number }>('addTokenMaxGradient', {
  infer: ([dy], { tokens }) => [{ shape: [dy!.shape[0]!, tokens, lastOf(dy!)] }],
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  storage: { outputs: { 0: 'any' } },
  attributes: ['scale', 'tokens'],
})

/** Its second output is the token of each maximum, so that x need not be kept for the gradient. */
const addTokenMaxOp = defineOp<{ scale: number }>('addTokenMax', {
  infer: ([y, x]) => {
    const [batch, , classes] = x!.shape as [number, number, number]
    if (x!.shape.length !== 3) throw shapeError('addTokenMax', 'the tokens', '[batch, tokens, classes]', x!.shape)
    if (y!.shape[0] !== batch || rowsOf(y!) !== batch || lastOf(y!) !== classes)
      throw shapeError('addTokenMax', 'y', [batch, classes], y!.shape)
    return [{ shape: y!.shape }, { shape: [batch, classes], type: 'i32' }]
  },
  cost: noCost,
  gradient: ({ graph, inputs, outputs, attributes: { scale }, gradients, needs }) => {
    const operands = [gradients[0]!, outputs[1]!]
    const tokens = inputs[1]!.shape[1]!
    return [gradients[0], needs(1) ? addNode(graph, addTokenMaxGradient, operands, { scale, tokens })[0] : undefined]
  },
  precision: 'full',
  attributes: ['scale'],
})

/** The class token before the patches, plus the position embedding: (B, N, D), (1, 1, D), (N + 1, D) -> (B, N + 1, D). */
export function tokens(graph: Graph, patches: Tensor, classToken: Tensor, position: Tensor): Tensor {
  return addNode(graph, tokensOp, [patches, classToken, position], {})[0]!
}

/** The first token: (B, N, D) -> (B, 1, D). */
export function selectToken(graph: Graph, x: Tensor): Tensor {
  return addNode(graph, selectTokenOp, [x], { tokens: x.shape[1]! })[0]!
}

/** All tokens but the first: (B, N, D) -> (B, N - 1, D). */
export function dropToken(graph: Graph, x: Tensor): Tensor {
  return addNode(graph, dropTokenOp, [x], {})[0]!
}

/**
 * A token before all others: x (B, N, D), token (B, 1, D), or (1, 1, D) where all images share it, as a parameter
 * -> (B, N + 1, D).
 */
export function prependToken(graph: Graph, x: Tensor, token: Tensor): Tensor {
  return addNode(graph, prependTokenOp, [x, token], {})[0]!
}

/**
 * y + scale * the maximum over the tokens, by class: y (B, C), x (B, N, C) -> (B, C). The gradient of the maximum goes to
 * the first token that has it.
 */
export function addTokenMax(graph: Graph, y: Tensor, x: Tensor, scale: number): Tensor {
  return addNode(graph, addTokenMaxOp, [y, x], { scale })[0]!
}
