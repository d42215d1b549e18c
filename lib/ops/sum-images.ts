import type { Graph } from '../graph/graph.js'
import { addNode, shapeError } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { lastOf, rowsOf } from '../graph/tensor.js'
import { defineOp, noCost } from './define.js'

const sumImagesOp = defineOp<Record<string, never>>('sumImages', {
  infer: ([x]) => [{ shape: [rowsOf(x!) / x!.shape[0]!, lastOf(x!)] }],
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  storage: { inputs: { 0: 'any' } },
  attributes: [],
})

/** The sum over the images in their order: (B, …, D) of N rows an image -> (N, D). The gradient of what all share. */
export function sumImages(graph: Graph, x: Tensor): Tensor {
  return addNode(graph, sumImagesOp, [x], {})[0]!
}

const repeatImagesOp = defineOp<{ batch: number }>('repeatImages', {
  infer: ([x], { batch }) => {
    if (x!.shape[0] !== 1) throw shapeError('repeatImages', 'x', '[1, …, width]', x!.shape)
    return [{ shape: [batch, ...x!.shape.slice(1)] }]
  },
  cost: noCost,
  gradient: ({ graph, gradients }) => [sumImages(graph, gradients[0]!)],
  precision: 'full',
  storage: { outputs: { 0: 'any' } },
  attributes: ['batch'],
})

/** The same for every image: (1, …, D) -> (B, …, D). */
export function repeatImages(graph: Graph, x: Tensor, batch: number): Tensor {
  return addNode(graph, repeatImagesOp, [x], { batch })[0]!
}
