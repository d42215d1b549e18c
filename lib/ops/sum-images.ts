import type { Graph } from '../graph/graph.js'
import { addNode } from '../graph/graph.js'
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
