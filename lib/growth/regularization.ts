/** Adaptive Regularization (supplement, table I): strengths that rise with the stages. */

export interface Range {
  readonly minimum: number
  readonly maximum: number
}

/** Table I: RandAugment's magnitude, the probability of random erasing, and stochastic depth's rate. */
export const adaptivePresets = {
  d0: { magnitude: range(4.5, 9), erasing: range(0, 0.25), stochasticDepth: range(0, 0.1) },
  d1: { magnitude: range(4.5, 9), erasing: range(0.0625, 0.25), stochasticDepth: range(0.1, 0.2) },
} as const

function range(minimum: number, maximum: number): Range {
  return { minimum, maximum }
}

/** The strength of stage `stage` (from 0): linear from the minimum in the first to the maximum in the last. */
export function adaptiveValue({ minimum, maximum }: Range, stage: number, stages: number): number {
  return stages === 1 ? maximum : minimum + ((maximum - minimum) * stage) / (stages - 1)
}
