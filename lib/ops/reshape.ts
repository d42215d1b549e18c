import type { Graph } from '../graph/graph.js'
import { addNode, shapeError } from '../graph/graph.js'
import type { Shape, Tensor } from '../graph/tensor.js'
import { sizeOf } from '../graph/tensor.js'
import { defineOp, noCost } from './define.js'

const reshapeOp = defineOp<{ shape: Shape }>('reshape', {
  infer: ([x], { shape }) => {
    if (sizeOf(shape) !== sizeOf(x!.shape)) throw shapeError('reshape', 'x', `of the size of ${shape}`, x!.shape)
    return [{ shape }]
  },
  cost: noCost,
  gradient: ({ graph, inputs, gradients }) => [reshape(graph, gradients[0]!, inputs[0]!.shape)],
  precision: 'full',
  storage: { inputs: { 0: 'any' }, outputs: { 0: 'any' } },
  attributes: ['shape'],
})

/** The same values in another shape: a map (B, H, W, D) as tokens (B, N, D). A copy, since the memory plan has no aliases. */
export function reshape(graph: Graph, x: Tensor, shape: Shape): Tensor {
  return addNode(graph, reshapeOp, [x], { shape })[0]!
}
