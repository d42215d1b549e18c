/** Stochastic depth: which branches of which images run, given or drawn on the device. */
import { AutoprogError, expected } from '../errors.js'
import type { Graph } from '../graph/graph.js'
import { addInput } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import type { Model } from '../models/model.js'
import { keepScale } from '../ops/index.js'
import type { Draws } from './draws.js'
import type { ProgramRequest } from './request.js'

export interface DepthOptions {
  /** Keep or drop (1 or 0) of each block's two branches for each image (depth, 2, B). */
  keepMask?: Uint8Array
  /** Probability with which each block's branches were kept (depth), with `keepMask`. */
  keepProbability?: readonly number[]
  /** Drawn on the device: the rate of the last block; the first has 0, linear between. */
  stochasticDepth?: number
}

export function prepareKeep(
  { keepMask, keepProbability, stochasticDepth = 0 }: DepthOptions,
  batch: number,
  model: Model,
) {
  const { depth, branches } = model
  if (branches === 0 && (keepMask !== undefined || stochasticDepth > 0))
    throw new AutoprogError('CONFIG', `${model.name} has no stochastic depth`, {
      hint: 'Leave keepMask out, and set stochasticDepth to 0.',
    })
  if (keepMask !== undefined) {
    if (!(keepMask instanceof Uint8Array) || keepMask.length !== depth * 2 * batch)
      throw new AutoprogError(
        'SHAPE',
        expected(`a Uint8Array of length ${depth * 2 * batch} (depth, 2, batch)`, 'keepMask', keepMask),
      )
    if (keepProbability?.length !== depth || keepProbability.some((p) => !(p > 0 && p <= 1)))
      throw new AutoprogError('SHAPE', expected(`${depth} probabilities above 0`, 'keepProbability', keepProbability))
    const keep = new Float32Array(batch * 2 * depth) // (B, paths), each scaled so that the mean stays
    for (let path = 0; path < 2 * depth; path++)
      for (let image = 0; image < batch; image++)
        keep[image * 2 * depth + path] = keepMask[path * batch + image]! / keepProbability[path >> 1]!
    return { keep: 'given' as const, values: { keep } }
  }
  if (!(stochasticDepth >= 0 && stochasticDepth < 1))
    throw new AutoprogError('CONFIG', expected('a number from 0 to below 1', 'stochasticDepth', stochasticDepth))
  if (stochasticDepth === 0) return { keep: 'none' as const, values: {} }
  const rates = Array.from({ length: 2 * depth }, (_, path) =>
    depth > 1 ? (stochasticDepth * (path >> 1)) / (depth - 1) : 0,
  )
  return { keep: rates, values: {} }
}

/** The factor of each branch for each image (B, branches * depth); undefined where all run. */
export function keepOf(
  graph: Graph,
  { keep, microBatch }: ProgramRequest,
  model: Model,
  draws: Draws | undefined,
): Tensor | undefined {
  if (keep === 'given') return addInput(graph, 'keep', [microBatch, model.branches * model.depth], 'f32')
  if (keep === 'none' || !draws) return undefined
  return keepScale(graph, draws.random, draws.index, keep)
}
