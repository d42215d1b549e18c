import type { Graph } from '../graph/graph.js'
import { addNode, shapeError } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { defineOp, noCost } from './define.js'

type ImageAttributes = {
  height: number
  width: number
  pad: number
  mean: readonly number[]
  deviation: readonly number[]
}

const imagesOp = defineOp<ImageAttributes>('images', {
  infer: ([images, crops], { height, width, mean, deviation }) => {
    const [batch, , , channels] = images!.shape as [number, number, number, number]
    if (mean.length !== channels || deviation.length !== channels)
      throw shapeError('images', 'images', `[batch, height, width, ${mean.length}]`, images!.shape)
    if (crops!.shape[0] !== batch || crops!.shape[1] !== 3)
      throw shapeError('images', 'crops', [batch, 3], crops!.shape)
    return [{ shape: [batch, height, width, channels] }]
  },
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  storage: { outputs: { 0: 'any' } },
  attributes: ['height', 'width', 'pad', 'mean', 'deviation'],
})

/**
 * 8-bit images (B, H, W, C) to normalised f32 (B, height, width, C): the crop (top, left, flip) of the image padded by
 * `pad` black pixels, resized bilinearly (antialiased when it shrinks), then (v / 255 - mean) / deviation.
 */
export function normalizeImages(graph: Graph, images: Tensor, crops: Tensor, attributes: ImageAttributes): Tensor {
  return addNode(graph, imagesOp, [images, crops], attributes)[0]!
}
