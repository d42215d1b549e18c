import type { Graph } from '../graph/graph.js'
import { addNode, shapeError } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { sizeOf } from '../graph/tensor.js'
import { defineOp, mapExtents, noCost } from './define.js'

/** Floats in `mix`: blend, share, top, bottom, left, right. */
export const mixSize = 6

function checkMix(op: string, { shape }: Tensor): void {
  if (sizeOf(shape) !== mixSize) throw shapeError(op, 'mix', [mixSize], shape)
}

const mixImagesOp = defineOp<Record<string, never>>('mixImages', {
  infer: ([images, mix]) => {
    mapExtents('mixImages', 'images', images!)
    checkMix('mixImages', mix!)
    return [{ shape: images!.shape }]
  },
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  storage: { inputs: { 0: 'any' }, outputs: { 0: 'any' } },
  attributes: [],
})

const mixTargetsOp = defineOp<Record<string, never>>('mixTargets', {
  infer: ([targets, mix]) => {
    checkMix('mixTargets', mix!)
    return [{ shape: targets!.shape }]
  },
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  attributes: [],
})

const mixTokensOp = defineOp<{ scale: number }>('mixTokens', {
  infer: ([x, box]) => {
    const { shape } = x!
    const isSquare = shape.length === 3 && Number.isInteger(Math.sqrt(shape[1]!))
    if (shape.length !== 4 && !isSquare)
      throw shapeError('mixTokens', 'x', '[batch, height, width, channels] or [batch, side², channels]', shape)
    if (sizeOf(box!.shape) !== 4) throw shapeError('mixTokens', 'the box', [4], box!.shape)
    return [{ shape: x!.shape }]
  },
  cost: noCost,
  // The same exchange once more brings every value back, and so also the gradient.
  gradient: ({ graph, inputs, attributes, gradients }) => [
    mixTokens(graph, gradients[0]!, inputs[1]!, attributes.scale),
    undefined,
  ],
  precision: 'full',
  storage: { inputs: { 0: 'any' }, outputs: { 0: 'any' } },
  attributes: ['scale'],
})

/**
 * Mixup (Zhang et al., 2018) and CutMix (Yun et al., 2019): each image of (B, H, W, C) with its partner, image B - 1 - i.
 * `mix` (6: blend, share, top, bottom, left, right) is read in every step. Inside of the box, whose bottom and right lie
 * outside, y is the partner; elsewhere it is blend x + (1 - blend) partner.
 */
export function mixImages(graph: Graph, images: Tensor, mix: Tensor): Tensor {
  return addNode(graph, mixImagesOp, [images, mix], {})[0]!
}

/** The targets (B, C) of mixed images: share t + (1 - share) of the partner's, with `mix` as above. */
export function mixTargets(graph: Graph, targets: Tensor, mix: Tensor): Tensor {
  return addNode(graph, mixTargetsOp, [targets, mix], {})[0]!
}

/**
 * MixToken (Jiang et al., 2021): inside of the box, times `scale`, each map of x (B, H, W, C), or (B, N, C) of a square,
 * has the values of its partner, image B - 1 - i; elsewhere its own. `box` (4, i32: top, left, bottom, right, the latter two outside of it) is
 * read in every step; what lies beyond the map is not looked at.
 */
export function mixTokens(graph: Graph, x: Tensor, box: Tensor, scale: number): Tensor {
  return addNode(graph, mixTokensOp, [x, box], { scale })[0]!
}
