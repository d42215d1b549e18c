import type { Graph } from '../graph/graph.js'
import { addNode } from '../graph/graph.js'
import type { Shape, Tensor } from '../graph/tensor.js'
import { defineOp, noCost } from './define.js'

/** Parts of the parameter arenas, in order. */
export interface Ranges {
  readonly offsets: readonly number[]
  readonly counts: readonly number[]
}

const zeroOp = defineOp<{ shape: Shape }>('zero', {
  infer: (_, { shape }) => [{ shape }],
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  attributes: ['shape'],
})

const gradientNormOp = defineOp<{ offsets: readonly number[]; counts: readonly number[] }>('gradientNorm', {
  infer: () => [{ shape: [1] }],
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  attributes: ['offsets', 'counts'],
})

type AdamWAttributes = {
  offsets: readonly number[]
  counts: readonly number[]
  /** Index of each range's step count. */
  slots: readonly number[]
  /** 1 where weight decay applies. */
  decayed: readonly number[]
  /** Decay of each moving average. */
  averages: readonly number[]
}

const adamwOp = defineOp<AdamWAttributes>('adamw', {
  infer: () => [],
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  attributes: ['offsets', 'counts', 'slots', 'decayed', 'averages'],
})

export type LossScaleAttributes = { growth: number; backoff: number; interval: number }

const lossScaleOp = defineOp<LossScaleAttributes>('lossScale', {
  infer: () => [{ shape: [4] }],
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  attributes: ['growth', 'backoff', 'interval'],
})

/** Fills `target` with zeros. */
export function zero(graph: Graph, target: Tensor): void {
  addNode(graph, zeroOp, [], { shape: target.shape }, [target])
}

/** Euclidean norm (1) of the gradients' ranges, without the loss scale where `scaling` (4) is given. */
export function gradientNorm(graph: Graph, gradients: Tensor, { offsets, counts }: Ranges, scaling?: Tensor): Tensor {
  return addNode(graph, gradientNormOp, scaling ? [gradients, scaling] : [gradients], { offsets, counts })[0]!
}

/**
 * Dynamic loss scaling (Micikevicius et al., 2018) in place: `scaling` (4) holds the scale, good steps in a row, skipped
 * steps, and one value unused. A norm that is not finite shrinks the scale; `interval` good steps in a row let it grow.
 */
export function lossScale(graph: Graph, norm: Tensor, scaling: Tensor, attributes: LossScaleAttributes): void {
  addNode(graph, lossScaleOp, [norm], attributes, [scaling])
}

/**
 * AdamW with decoupled weight decay (Loshchilov and Hutter, 2019), then every moving average, in one pass. `hyper` (6):
 * learning rate, weight decay, beta1, beta2, epsilon, largest gradient norm (0: no clipping). `arenas`: weights, moment1,
 * moment2, step counts, averages; updated in place. With loss `scaling` (4), a norm that is not finite skips the step.
 */
export function adamw(
  graph: Graph,
  hyper: Tensor,
  norm: Tensor,
  gradients: Tensor,
  arenas: readonly Tensor[],
  attributes: AdamWAttributes,
  scaling?: Tensor,
): void {
  graph.nodes.push({
    op: adamwOp as never,
    attributes,
    inputs: [hyper, norm, gradients, ...(scaling ? [scaling] : [])],
    outputs: arenas,
    phase: graph.phase,
  })
}
