import type { Graph } from '../graph/graph.js'
import { addNode, shapeError } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { defineOp, noCost } from './define.js'

type AlignAttributes = { grid: number; classCount: number; smoothing: number; logits: number }

/** Values of a region: left, top, right and bottom as shares of the map, and whether it is seen mirrored. */
export const regionSize = 5

const alignLabelsOp = defineOp<AlignAttributes>('alignLabels', {
  infer: ([classes, scores, regions], { grid, classCount }) => {
    const { shape } = classes!
    if (shape.length !== 4) throw shapeError('alignLabels', 'classes', '[batch, best, height, width]', shape)
    if (scores!.shape.join() !== shape.join()) throw shapeError('alignLabels', 'scores', shape, scores!.shape)
    if (regions!.shape.join() !== `${shape[0]},${regionSize}`)
      throw shapeError('alignLabels', 'regions', [shape[0]!, regionSize], regions!.shape)
    return [{ shape: [shape[0]!, grid ** 2, classCount] }]
  },
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  attributes: ['grid', 'classCount', 'smoothing', 'logits'],
})

export interface AlignOptions {
  /** Tokens on a side. */
  grid: number
  classCount: number
  /** Weight of the uniform distribution; 0 unless given. */
  smoothing?: number
  /** Whether the scores are logits, of which those of the other classes are zero, rather than probabilities. */
  logits?: boolean
}

/**
 * Soft targets of the tokens (B, grid^2, classCount) from label maps (Jiang et al., 2021): classes i32 and scores
 * (B, K, h, w) of the K best classes at every position, and regions (B, 5: left, top, right, bottom as shares of the map's
 * width and height, mirrored or not), which may reach outside of 0 … 1.
 *
 * RoI align (He et al., 2017) with half-pixel centres: each token averages as many bilinear samples an axis as it is cells
 * wide, rounded up. A sample outside of the map takes the nearest value inside: so every token has a whole
 * distribution, where torchvision's counts as zero. What the probabilities of a token leave of 1 goes evenly to all
 * classes; logits are averaged and go through a softmax.
 */
export function alignLabels(
  graph: Graph,
  classes: Tensor,
  scores: Tensor,
  regions: Tensor,
  { grid, classCount, smoothing = 0, logits = false }: AlignOptions,
): Tensor {
  const attributes = { grid, classCount, smoothing, logits: logits ? 1 : 0 }
  return addNode(graph, alignLabelsOp, [classes, scores, regions], attributes)[0]!
}
