import type { Graph } from '../graph/graph.js'
import { addNode, shapeError } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { lastOf, rowsOf } from '../graph/tensor.js'
import { defineOp, noCost } from './define.js'
import { sumImages } from './sum-images.js'

type None = Record<string, never>
type Grids = { from: number; to: number; prefix: number }

/** dy (prefix + to^2, D) -> dposition (1, prefix + from^2, D) (+=). */
const resizePositionGradient = defineOp<Grids>('resizePositionGradient', {
  infer: ([dy], { from, prefix }) => [{ shape: [1, prefix + from ** 2, lastOf(dy!)] }],
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  attributes: ['from', 'to', 'prefix'],
})

const resizePositionOp = defineOp<Grids>('resizePosition', {
  infer: ([position], { from, to, prefix }) => {
    if (rowsOf(position!) !== prefix + from ** 2)
      throw shapeError('resizePosition', 'the position', `[1, ${prefix + from ** 2}, width]`, position!.shape)
    return [{ shape: [prefix + to ** 2, lastOf(position!)] }]
  },
  cost: noCost,
  gradient: ({ graph, attributes, gradients, accumulator }) => {
    addNode(graph, resizePositionGradient, [gradients[0]!], attributes, [accumulator(0)])
    return [undefined]
  },
  precision: 'full',
  attributes: ['from', 'to', 'prefix'],
})

const addPositionOp = defineOp<None>('addPosition', {
  infer: ([x, position]) => {
    const [batch, width] = [x!.shape[0]!, lastOf(x!)]
    if (lastOf(position!) !== width || rowsOf(position!) * batch !== rowsOf(x!))
      throw shapeError('addPosition', 'the position', [rowsOf(x!) / batch, width], position!.shape)
    return [{ shape: x!.shape }]
  },
  cost: noCost,
  gradient: ({ graph, gradients, needs }) => [gradients[0], needs(1) ? sumImages(graph, gradients[0]!) : undefined],
  precision: 'full',
  storage: { inputs: { 0: 'any' } },
  attributes: [],
})

/**
 * The position embedding for a grid of to x to: bicubic (a = -0.75, half-pixel centres, no antialias) over its from x
 * from last rows; the `prefix` rows before them, as that of a class token, as they are. (…, D), prefix + from^2 rows in
 * all -> (prefix + to^2, D).
 */
export function resizePosition(graph: Graph, position: Tensor, from: number, to: number, prefix: 0 | 1): Tensor {
  return addNode(graph, resizePositionOp, [position], { from, to, prefix })[0]!
}

/** x + position for every image: x (B, …, D) of N rows an image, position (N, D) or (1, …, D) -> (B, …, D). */
export function addPosition(graph: Graph, x: Tensor, position: Tensor): Tensor {
  return addNode(graph, addPositionOp, [x, position], {})[0]!
}
