/** The targets of every token, for a network with a head for tokens: given, or made of label maps. */
import { AutoprogError, expected } from '../errors.js'
import type { Graph } from '../graph/graph.js'
import { addInput } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import type { Model } from '../models/model.js'
import type { Values } from '../native.js'
import { alignLabels, regionSize } from '../ops/index.js'
import type { LabelMapOptions } from './label-maps.js'
import { checkLabelMaps, labelMapValues } from './label-maps.js'
import type { ProgramRequest } from './request.js'

export interface TokenOptions {
  /** Soft targets of every token (B, tokens, classes); the loss of tokens is left out unless these or label maps are given. */
  tokenTargets?: Float32Array
  /** What the targets of every token are made of instead: the label maps of the pictures, and the parts that images show. */
  labelMaps?: LabelMapOptions
}

/** Tokens on a side of the grid that the head for tokens looks at. Throws CONFIG where there is no such head. */
export function tokenGrid(option: string, { name, tokenSize }: Model, resolution: number): number {
  if (tokenSize !== undefined) return resolution / tokenSize
  throw new AutoprogError('CONFIG', `${name} has no head for tokens, which ${option} needs`, {
    hint: 'VOLO models have one.',
  })
}

export function prepareTokenTargets(
  kind: ProgramRequest['kind'],
  { tokenTargets: targets, labelMaps }: TokenOptions,
  batch: number,
  resolution: number,
  model: Model,
  labelSmoothing: number,
): { tokenTargets: ProgramRequest['tokenTargets']; values: Values } {
  if (labelMaps !== undefined) {
    if (targets !== undefined)
      throw new AutoprogError('CONFIG', 'Targets of tokens are given by tokenTargets or by labelMaps, not by both', {
        hint: 'Leave out one.',
      })
    tokenGrid('labelMaps', model, resolution)
    const { shape, logits = false } = checkLabelMaps(labelMaps, batch, model.classes)
    const smoothing = kind === 'forward' ? 0 : labelSmoothing
    return { tokenTargets: { shape, logits, smoothing }, values: labelMapValues(labelMaps) }
  }
  if (targets === undefined) return { tokenTargets: 'none', values: {} }
  const grid = tokenGrid('tokenTargets', model, resolution)
  const size = batch * grid ** 2 * model.classes
  if (targets instanceof Float32Array && targets.length === size)
    return { tokenTargets: 'given', values: { tokenTargets: targets } }
  throw new AutoprogError(
    'SHAPE',
    expected(`a Float32Array of length ${size} (${batch}, ${grid ** 2}, ${model.classes})`, 'tokenTargets', targets),
  )
}

/** (B, tokens, classes): as they are given, or what label maps say of the part of the picture that an image shows. */
export function tokenTargetsOf(
  graph: Graph,
  { tokenTargets, microBatch, resolution }: ProgramRequest,
  { classes, tokenSize }: Model,
  tokenLogits: Tensor,
): Tensor {
  if (typeof tokenTargets === 'string') return addInput(graph, 'tokenTargets', tokenLogits.shape, 'f32')
  const { shape, logits, smoothing } = tokenTargets
  return alignLabels(
    graph,
    addInput(graph, 'mapClasses', [microBatch, ...shape], 'i32'),
    addInput(graph, 'mapScores', [microBatch, ...shape], 'f32'),
    addInput(graph, 'regions', [microBatch, regionSize], 'f32'),
    { grid: resolution / tokenSize!, classCount: classes, smoothing, logits },
  )
}
