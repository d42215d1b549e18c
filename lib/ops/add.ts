import { shapeError } from '../graph/graph.js'
import { formatShape } from '../graph/tensor.js'
import { defineOp, noCost } from './define.js'

/** a + b of equal shapes; joins the gradients of a tensor that is used twice. */
export const add = defineOp<Record<string, never>>('add', {
  infer: ([a, b]) => {
    if (formatShape(a!.shape) !== formatShape(b!.shape)) throw shapeError('add', 'b', a!.shape, b!.shape)
    return [{ shape: a!.shape }]
  },
  cost: noCost,
  gradient: ({ gradients }) => [gradients[0], gradients[0]],
  precision: 'full',
  storage: { inputs: { 0: 'any', 1: 'any' }, outputs: { 0: 'any' } },
  attributes: [],
})
