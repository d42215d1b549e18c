import type { Graph } from '../graph/graph.js'
import { addNode, shapeError } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { lastOf, rowsOf } from '../graph/tensor.js'
import { defineOp, noCost } from './define.js'

const oneHotOp = defineOp<{ classes: number; smoothing: number }>('oneHot', {
  infer: ([labels], { classes }) => [{ shape: [labels!.shape[0]!, classes] }],
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  attributes: ['classes', 'smoothing'],
})

const crossEntropyOp = defineOp<{ divisor: number }>('crossEntropy', {
  infer: ([logits, targets]) => {
    if (rowsOf(logits!) !== rowsOf(targets!) || lastOf(logits!) !== lastOf(targets!))
      throw shapeError('crossEntropy', 'targets', [rowsOf(logits!), lastOf(logits!)], targets!.shape)
    return [{ shape: [1] }, { shape: logits!.shape }]
  },
  cost: noCost,
  gradient: ({ outputs }) => [outputs[1]],
  precision: 'full',
  storage: { outputs: { 1: 'any' } },
  attributes: ['divisor'],
})

const countsOp = defineOp<Record<string, never>>('counts', {
  infer: () => [{ shape: [2], type: 'i32' }],
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  attributes: [],
})

/** Class indices (B) as soft targets (B, classes): 1 - smoothing on the class, and smoothing / classes everywhere. */
export function oneHot(graph: Graph, labels: Tensor, classes: number, smoothing: number): Tensor {
  return addNode(graph, oneHotOp, [labels], { classes, smoothing })[0]!
}

/**
 * Adds the sum of -sum(t log softmax) over all rows, divided by `divisor`, to `loss` (1). logits (…, C), targets (…, C) of
 * as many rows. The divisor is the number of rows in the whole batch, so that micro-batches add up to its mean; less than
 * that gives the loss more weight where several are added up in one. The gradient is multiplied by the loss scale where
 * `scaling` (4) is given.
 */
export function crossEntropy(
  graph: Graph,
  logits: Tensor,
  targets: Tensor,
  divisor: number,
  loss: Tensor,
  scaling?: Tensor,
): void {
  addNode(graph, crossEntropyOp, [logits, targets, ...(scaling ? [scaling] : [])], { divisor }, [loss])
}

/** Adds the images whose label ranks first, and among the first five, to `counts` i32 (2). */
export function countCorrect(graph: Graph, logits: Tensor, labels: Tensor, counts: Tensor): void {
  addNode(graph, countsOp, [logits, labels], {}, [counts])
}
