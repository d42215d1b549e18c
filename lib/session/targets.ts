/** What the images of a batch are: the targets that the caller gives, and the loss against them. */
import { AutoprogError, expected } from '../errors.js'
import type { Graph } from '../graph/graph.js'
import { addInput, addOutput, addTensor } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import type { Model, Outputs } from '../models/model.js'
import { countCorrect, crossEntropy, mixTargets, oneHot, zero } from '../ops/index.js'
import type { ProgramRequest, ProgramSettings } from './request.js'
import { tokenTargetsOf } from './tokens.js'

export interface TargetOptions {
  /** Class indices (B) or soft targets (B, classes). */
  targets?: Int32Array | Float32Array
}

export function prepareTargets(
  kind: ProgramRequest['kind'],
  targets: TargetOptions['targets'],
  batch: number,
  model: Model,
) {
  if (targets === undefined && kind === 'forward') return { targets: 'none' as const, values: {} }
  if (targets instanceof Int32Array && targets.length === batch) {
    const wrong = targets.find((label) => label < 0 || label >= model.classes)
    if (wrong !== undefined)
      throw new AutoprogError('DATA', expected(`class indices from 0 to ${model.classes - 1}`, 'targets', wrong))
    return { targets: 'labels' as const, values: { labels: targets } }
  }
  if (targets instanceof Float32Array && targets.length === batch * model.classes)
    return { targets: 'soft' as const, values: { targets } }
  throw new AutoprogError(
    'SHAPE',
    expected(
      `an Int32Array of length ${batch} or a Float32Array of length ${batch * model.classes}`,
      'targets',
      targets,
    ),
  )
}

/**
 * Mean loss over the whole batch, summed up over the micro-batches; with labels, also the counts of correct images, by
 * their own labels where they are mixed.
 */
export function lossOf(
  graph: Graph,
  request: ProgramRequest,
  model: Model,
  { classWeight, denseWeight }: ProgramSettings,
  { logits, tokenLogits }: Outputs,
  mix: Tensor | undefined,
  scaling: Tensor | undefined,
): Tensor {
  const { targets, microBatch, batch, smoothing } = request
  const cleared = (name: string, size: number, type: 'f32' | 'i32') => {
    const tensor = addTensor(graph, name, [size], { type })
    graph.phase = 'begin'
    zero(graph, tensor)
    graph.phase = 'micro'
    addOutput(graph, name, tensor, false)
    return tensor
  }
  const loss = cleared('loss', 1, 'f32')
  const weight = model.tokenSize === undefined ? 1 : classWeight
  const against = (soft: Tensor) =>
    crossEntropy(graph, logits, mix ? mixTargets(graph, soft, mix) : soft, batch / weight, loss, scaling)
  if (targets === 'soft') {
    against(addInput(graph, 'targets', [microBatch, model.classes], 'f32'))
  } else {
    const labels = addInput(graph, 'labels', [microBatch], 'i32')
    against(oneHot(graph, labels, model.classes, smoothing))
    countCorrect(graph, logits, labels, cleared('counts', 2, 'i32'))
  }
  if (tokenLogits && request.tokenTargets !== 'none') {
    const tokens = tokenLogits.shape[1]!
    const wanted = tokenTargetsOf(graph, request, model, tokenLogits)
    crossEntropy(graph, tokenLogits, wanted, (batch * tokens) / denseWeight, loss, scaling)
  }
  return loss
}
