import type { Graph } from '../graph/graph.js'
import { addNode, shapeError } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { defineOp, noCost } from './define.js'

type Patch = { patch: number; height: number; width: number }

/** dy (B, N, C patch patch) -> dx (B, H, W, C) (=). */
const patchesGradient = defineOp<Patch>('patchesGradient', {
  infer: ([dy], { patch, height, width }) => [{ shape: [dy!.shape[0]!, height, width, dy!.shape[2]! / patch ** 2] }],
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  storage: { inputs: { 0: 'any' } },
  attributes: ['patch', 'height', 'width'],
})

const patchesOp = defineOp<Patch>('patches', {
  infer: ([images], { patch }) => {
    const [batch, height, width, channels] = images!.shape as [number, number, number, number]
    if (height % patch !== 0 || width % patch !== 0)
      throw shapeError('patches', 'images', `[batch, sides that ${patch} divides, channels]`, images!.shape)
    return [{ shape: [batch, (height / patch) * (width / patch), channels * patch ** 2] }]
  },
  cost: noCost,
  gradient: ({ graph, attributes, gradients }) => addNode(graph, patchesGradient, [gradients[0]!], attributes),
  precision: 'full',
  storage: { inputs: { 0: 'any' }, outputs: { 0: 'any' } },
  attributes: ['patch', 'height', 'width'],
})

/** Images (B, H, W, C) as rows of square patches (B, N, C * patch * patch), each in the order of a convolution kernel. */
export function patches(graph: Graph, images: Tensor, patch: number): Tensor {
  const [, height, width] = images.shape as [number, number, number, number]
  return addNode(graph, patchesOp, [images], { patch, height, width })[0]!
}
