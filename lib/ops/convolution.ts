import type { Graph } from '../graph/graph.js'
import { addNode, shapeError } from '../graph/graph.js'
import type { Shape, Tensor } from '../graph/tensor.js'
import { lastOf, rowsOf, sizeOf } from '../graph/tensor.js'
import { defineOp, mapExtents, noCost } from './define.js'

/** How a kernel moves over an image: zeros around it, and positions from one output to the next, both in pixels. */
export type Window = { stride: number; padding: number }

type Extents = readonly [number, number, number, number]

/** x (B, H, W, C), weight (O, C, k, k), bias (O)? -> (B, h, w, O), with h = floor((H + 2 padding - k) / stride) + 1. */
function inferConvolution([x, weight, bias]: readonly Tensor[], { stride, padding }: Window): Shape {
  const [batch, height, width, channels] = mapExtents('convolution', 'x', x!)
  const [out = 1, , kernel = 1] = weight!.shape
  const wanted = [out, channels, kernel, kernel]
  if (weight!.shape.length !== 4 || wanted.some((extent, axis) => extent !== weight!.shape[axis]))
    throw shapeError('convolution', 'weight', wanted, weight!.shape)
  if (bias !== undefined && sizeOf(bias.shape) !== out) throw shapeError('convolution', 'bias', [out], bias.shape)
  const side = Math.max(1, kernel - 2 * padding)
  if (height < side || width < side)
    throw shapeError('convolution', 'x', `[batch, ${side} or more, ${side} or more, ${channels}]`, x!.shape)
  const along = (extent: number) => Math.floor((extent + 2 * padding - kernel) / stride) + 1
  return [batch, along(height), along(width), out]
}

/** dy (B, h, w, O), weight (O, C, k, k) -> dx (B, H, W, C) (=). */
const convolutionGradientInput = defineOp<Window & { height: number; width: number }>('convolutionGradientInput', {
  infer: ([dy, weight], { height, width }) => [{ shape: [dy!.shape[0]!, height, width, weight!.shape[1]!] }],
  cost: noCost,
  gradient: 'none',
  precision: 'low',
  attributes: ['stride', 'padding', 'height', 'width'],
})

/** dy (B, h, w, O), x (B, H, W, C) -> dweight (O, C, k, k) (+=), dbias (O)? (+=). */
const convolutionGradientWeight = defineOp<Window & { kernel: number; biased: number }>('convolutionGradientWeight', {
  infer: ([dy, x], { kernel, biased }) =>
    [{ shape: [lastOf(dy!), lastOf(x!), kernel, kernel] }, { shape: [lastOf(dy!)] }].slice(0, 1 + biased),
  cost: noCost,
  gradient: 'none',
  precision: 'low',
  attributes: ['stride', 'padding', 'kernel', 'biased'],
})

const convolutionOp = defineOp<Window>('convolution', {
  infer: (inputs, window) => [{ shape: inferConvolution(inputs, window) }],
  cost: ([, weight], [y]) => rowsOf(y!) * sizeOf(weight!.shape),
  gradient: ({ graph, inputs, attributes: { stride, padding }, gradients, needs, accumulator }) => {
    const [x, weight, bias] = inputs as [Tensor, Tensor, Tensor?]
    const dy = gradients[0]!
    const targets = bias ? [accumulator(1), accumulator(2)] : [accumulator(1)]
    const kernel = weight.shape[2]!
    const biased = targets.length - 1
    addNode(graph, convolutionGradientWeight, [dy, x], { stride, padding, kernel, biased }, targets)
    if (!needs(0)) return [undefined]
    const [, height, width] = x.shape as Extents
    return addNode(graph, convolutionGradientInput, [dy, weight], { stride, padding, height, width })
  },
  precision: 'low',
  storage: { inputs: { 2: 'result' }, outputs: { 0: 'any' } }, // libraries add a bias of the result's type alone
  attributes: ['stride', 'padding'],
})

/**
 * Convolution with square kernels, channels last: x (B, H, W, C), weight (O, C, k, k), bias (O) -> (B, h, w, O), with
 * h = floor((H + 2 padding - k) / stride) + 1. Throws SHAPE where channels disagree or the padded image is smaller than
 * the kernel.
 */
export function convolution(graph: Graph, x: Tensor, weight: Tensor, window: Window, bias?: Tensor): Tensor {
  const { stride, padding } = window
  return addNode(graph, convolutionOp, bias ? [x, weight, bias] : [x, weight], { stride, padding })[0]!
}
