/**
 * Adaptive Regularization (supplement, table I): strengths that rise with the stages.
 *
 * The trainer asks per stage, and for the last stage's values while it searches: a search runs at the strongest.
 */
import { AutoprogError, expected } from '../errors.js'

export interface Range {
  readonly minimum: number
  readonly maximum: number
}

/** RandAugment's magnitude (of 10), the probability of random erasing, and stochastic depth's rate. */
export interface Regularization<T> {
  readonly magnitude: T
  readonly erasing: T
  readonly stochasticDepth: T
}

/** Table I, for VOLO-D0 and VOLO-D1. */
export const adaptivePresets = {
  d0: { magnitude: range(4.5, 9), erasing: range(0, 0.25), stochasticDepth: range(0, 0.1) },
  d1: { magnitude: range(4.5, 9), erasing: range(0.0625, 0.25), stochasticDepth: range(0.1, 0.2) },
} as const satisfies Record<string, Regularization<Range>>

function range(minimum: number, maximum: number): Range {
  return { minimum, maximum }
}

/** The strength of stage `stage` (from 0): linear from the minimum in the first to the maximum in the last. Throws CONFIG. */
export function adaptiveValue({ minimum, maximum }: Range, stage: number, stages: number): number {
  if (!(Number.isInteger(stage) && stage >= 0 && stage < stages))
    throw new AutoprogError('CONFIG', expected(`a stage from 0 to ${stages - 1}`, 'adaptive regularisation', stage))
  const share = stages === 1 ? 1 : stage / (stages - 1)
  return minimum * (1 - share) + maximum * share // exact at both ends
}

/** All strengths of a phase of stage `stage` (from 0). */
export function adaptiveValues(
  ranges: Regularization<Range>,
  stage: number,
  stages: number,
  searching: boolean,
): Regularization<number> {
  const at = (each: Range) => adaptiveValue(each, searching ? stages - 1 : stage, stages)
  return {
    magnitude: at(ranges.magnitude),
    erasing: at(ranges.erasing),
    stochasticDepth: at(ranges.stochasticDepth),
  }
}
