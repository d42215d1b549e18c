import type { Graph } from '../graph/graph.js'
import { addNode } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { sizeOf } from '../graph/tensor.js'
import { defineOp, noCost } from './define.js'

const keepScaleOp = defineOp<{ rates: readonly number[] }>('keepScale', {
  infer: ([, index], { rates }) => [{ shape: [sizeOf(index!.shape), rates.length] }],
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  attributes: ['rates'],
})

/**
 * Stochastic depth's factors (B, paths), drawn per image and residual branch: 0 with the branch's rate, 1 / (1 - rate)
 * otherwise. `random` holds seed and step, `index` (B) each image's place in the whole batch.
 */
export function keepScale(graph: Graph, random: Tensor, index: Tensor, rates: readonly number[]): Tensor {
  return addNode(graph, keepScaleOp, [random, index], { rates })[0]!
}
