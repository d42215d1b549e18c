import type { Graph } from '../graph/graph.js'
import { addNode, shapeError } from '../graph/graph.js'
import type { Shape, Tensor } from '../graph/tensor.js'
import { defineOp, mapExtents, noCost } from './define.js'

type Windows = { kernel: number; stride: number; padding: number }
/** Of the input, which a gradient cannot see from dy. */
type Extents = { height: number; width: number }

const anyToAny = { inputs: { 0: 'any' }, outputs: { 0: 'any' } } as const

/** dy (B, h, w, C), index (B, h, w, C) u8 -> dx (B, H, W, C) (=). */
const maxPoolGradient = defineOp<Windows & Extents>('maxPoolGradient', {
  infer: ([dy], { height, width }) => [{ shape: [dy!.shape[0]!, height, width, dy!.shape[3]!] }],
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  storage: anyToAny,
  attributes: ['kernel', 'stride', 'padding', 'height', 'width'],
})

/**
 * x -> y, index u8: which value of its window each output is, counted by rows. A byte an output is all that the gradient
 * needs; to find the maxima again it would have to keep x, in a ResNet the largest tensor of all, whose other users don't
 * need it any more.
 */
const maxPoolOp = defineOp<Windows>('maxPool', {
  infer: ([x], { kernel, stride, padding }) => {
    const [batch, height, width, channels] = mapExtents('maxPool', 'x', x!)
    if (height + 2 * padding < kernel || width + 2 * padding < kernel)
      throw shapeError('maxPool', 'x', `of at least ${kernel} x ${kernel} with its padding`, x!.shape)
    const count = (extent: number) => Math.floor((extent + 2 * padding - kernel) / stride) + 1
    const shape = [batch, count(height), count(width), channels]
    return [{ shape }, { shape, type: 'u8' }]
  },
  cost: noCost,
  gradient: ({ graph, inputs, outputs, attributes, gradients }) => {
    const [, height, width] = inputs[0]!.shape as [number, number, number]
    return addNode(graph, maxPoolGradient, [gradients[0]!, outputs[1]!], { ...attributes, height, width })
  },
  precision: 'full',
  storage: anyToAny,
  attributes: ['kernel', 'stride', 'padding'],
})

/** dy (B, h, w, C) -> dx (B, H, W, C) (=). */
const averagePoolGradient = defineOp<{ size: number } & Extents>('averagePoolGradient', {
  infer: ([dy], { height, width }) => [{ shape: [dy!.shape[0]!, height, width, dy!.shape[3]!] }],
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  storage: anyToAny,
  attributes: ['size', 'height', 'width'],
})

const averagePoolOp = defineOp<{ size: number }>('averagePool', {
  infer: ([x], { size }) => {
    const [batch, height, width, channels] = mapExtents('averagePool', 'x', x!)
    return [{ shape: [batch, Math.ceil(height / size), Math.ceil(width / size), channels] }]
  },
  cost: noCost,
  gradient: ({ graph, inputs, attributes, gradients }) => {
    const [, height, width] = inputs[0]!.shape as [number, number, number]
    return addNode(graph, averagePoolGradient, [gradients[0]!], { ...attributes, height, width })
  },
  precision: 'full',
  storage: anyToAny,
  attributes: ['size'],
})

/** dy (B, C) -> dx (B, H, W, C) (=). */
const globalAveragePoolGradient = defineOp<Extents>('globalAveragePoolGradient', {
  infer: ([dy], { height, width }) => [{ shape: [dy!.shape[0]!, height, width, dy!.shape[1]!] }],
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  storage: anyToAny,
  attributes: ['height', 'width'],
})

const globalAveragePoolOp = defineOp<Record<string, never>>('globalAveragePool', {
  infer: ([x]) => {
    const [batch, , , channels] = mapExtents('globalAveragePool', 'x', x!)
    return [{ shape: [batch, channels] as Shape }]
  },
  cost: noCost,
  gradient: ({ graph, inputs, gradients }) => {
    const [, height, width] = inputs[0]!.shape as [number, number, number]
    return addNode(graph, globalAveragePoolGradient, [gradients[0]!], { height, width })
  },
  precision: 'full',
  storage: anyToAny,
  attributes: [],
})

/**
 * The largest value of each window: x (B, H, W, C) -> (B, h, w, C) with h = floor((H + 2 padding - kernel) / stride) + 1.
 * Padding is never the largest; NaN is. The gradient goes to the first of equal values in the order of rows. `padding` is
 * at most half of `kernel`, which is at most 16.
 */
export function maxPool(graph: Graph, x: Tensor, { kernel, stride, padding }: Windows): Tensor {
  return addNode(graph, maxPoolOp, [x], { kernel, stride, padding })[0]!
}

/**
 * The mean of each window of size x size, side by side: x (B, H, W, C) -> (B, ceil(H / size), ceil(W / size), C). Windows
 * that reach beyond the far edges average over what is there of them.
 */
export function averagePool(graph: Graph, x: Tensor, size: number): Tensor {
  return addNode(graph, averagePoolOp, [x], { size })[0]!
}

/** The mean over each image: x (B, H, W, C) -> (B, C). */
export function globalAveragePool(graph: Graph, x: Tensor): Tensor {
  return addNode(graph, globalAveragePoolOp, [x], {})[0]!
}
