import type { Graph } from '../graph/graph.js'
import { addNode, shapeError } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { formatShape } from '../graph/tensor.js'
import { defineOp, mapExtents, noCost } from './define.js'

/** Windows of `kernel` x `kernel` positions, one for every `stride` x `stride` of the map, `padding` beyond its edges. */
export type Outlook = { heads: number; kernel: number; stride: number; padding: number }

/** dy, values, probabilities -> dvalues (=), dscores (=). */
const outlookAttentionGradient = defineOp<Outlook>('outlookAttentionGradient', {
  infer: ([, values, probabilities]) => [{ shape: values!.shape }, { shape: probabilities!.shape }],
  cost: noCost,
  gradient: 'none',
  precision: 'low',
  attributes: ['heads', 'kernel', 'stride', 'padding'],
})

/**
 * Its second output, the probabilities, is what the gradient needs in place of the scores, which are as large: keeping
 * the one or the other takes the same memory, and the softmax is computed once.
 */
const outlookAttentionOp = defineOp<Outlook>('outlookAttention', {
  infer: ([values, scores], { heads, kernel, stride, padding }) => {
    const { shape } = values!
    const [batch, height, width, channels] = mapExtents('outlookAttention', 'values', values!)
    if (channels % heads !== 0)
      throw shapeError('outlookAttention', 'values', `a number of channels that ${heads} heads divide`, shape)
    const windows = (extent: number) => Math.ceil(extent / stride)
    const covered = (extent: number) => Math.floor((extent + 2 * padding - kernel) / stride) + 1 === windows(extent)
    if (!covered(height) || !covered(width))
      throw shapeError(
        'outlookAttention',
        'values',
        `a map of ${windows(height)} x ${windows(width)} windows (kernel ${kernel}, stride ${stride}, padding ${padding})`,
        shape,
      )
    const wanted = [batch, windows(height), windows(width), heads * kernel ** 4]
    if (formatShape(scores!.shape) !== formatShape(wanted))
      throw shapeError('outlookAttention', 'scores', wanted, scores!.shape)
    return [{ shape }, { shape: wanted }]
  },
  // A window weighs kernel^2 rows of values for each of its kernel^2 positions.
  cost: ([values], [, probabilities], { kernel }) => {
    const [batch, rows, columns] = probabilities!.shape as [number, number, number]
    return batch * rows * columns * kernel ** 4 * values!.shape[3]!
  },
  gradient: ({ graph, inputs, outputs, attributes, gradients }) =>
    addNode(graph, outlookAttentionGradient, [gradients[0]!, inputs[0]!, outputs[1]!], attributes),
  precision: 'low',
  attributes: ['heads', 'kernel', 'stride', 'padding'],
})

/**
 * Outlook attention (VOLO: Yuan et al., 2021, section 3.1): each window's positions become weighted means of its values,
 * and those of overlapping windows are summed: fold(softmax(scores) unfold(values)), with scale (C / heads)^-0.5 on the
 * scores and zeros beyond the map, in one pass that stores no unfolded map.
 *
 * values (B, H, W, C); scores (B, ceil(H / stride), ceil(W / stride), heads kernel^4): by head a matrix whose rows are a
 * window's outputs and whose columns are its inputs -> (B, H, W, C).
 */
export function outlookAttention(graph: Graph, values: Tensor, scores: Tensor, outlook: Outlook): Tensor {
  const { heads, kernel, stride, padding } = outlook
  return addNode(graph, outlookAttentionOp, [values, scores], { heads, kernel, stride, padding })[0]!
}
