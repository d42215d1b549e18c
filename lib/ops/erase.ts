import type { Graph } from '../graph/graph.js'
import { addNode, shapeError } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { sizeOf } from '../graph/tensor.js'
import { defineOp, mapExtents, noCost } from './define.js'

const eraseOp = defineOp<Record<string, never>>('eraseImages', {
  infer: ([images, boxes, random, index]) => {
    const { shape } = images!
    const [batch] = mapExtents('eraseImages', 'images', images!)
    if (boxes!.shape[0] !== batch || sizeOf(boxes!.shape) !== 4 * batch)
      throw shapeError('eraseImages', 'boxes', [batch, 4], boxes!.shape)
    if (sizeOf(random!.shape) !== 4) throw shapeError('eraseImages', 'random', [4], random!.shape)
    if (sizeOf(index!.shape) !== batch) throw shapeError('eraseImages', 'index', [batch], index!.shape)
    return [{ shape }]
  },
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  storage: { inputs: { 0: 'any' }, outputs: { 0: 'any' } },
  attributes: [],
})

/**
 * Random erasing (Zhong et al., 2020; timm's mode "pixel"): normalised images (B, H, W, C) with a standard normal draw for
 * every value inside of each image's box, `boxes` i32 (B, 4: top, left, height, width); a height of 0 erases nothing, and
 * what reaches beyond the image counts for nothing. `random` i32 (4) holds seed and step, `index` i32 (B) each image's
 * place in the whole batch.
 */
export function eraseImages(graph: Graph, images: Tensor, boxes: Tensor, random: Tensor, index: Tensor): Tensor {
  return addNode(graph, eraseOp, [images, boxes, random, index], {})[0]!
}
