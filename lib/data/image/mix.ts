/** Which mixture a batch is trained on: mixup (Zhang et al., 2018), CutMix (Yun et al., 2019), or none. */
import { Purpose } from '../../random.js'
import type { Draws } from './draws.js'
import { drawsAt } from './draws.js'

export interface MixOptions {
  /** Parameter of mixup's Beta distribution; 0 switches it off. */
  readonly mixup: number
  /** Parameter of CutMix's Beta distribution; 0 switches it off. */
  readonly cutmix: number
  /** Probability with which a batch is mixed at all. */
  readonly probability: number
  /** Probability of CutMix where both are on. */
  readonly switchProbability: number
}

/** Rows [top, bottom) and columns [left, right) of an image in pixels of the network's resolution, or of a grid of tokens. */
export interface MixBox {
  readonly top: number
  readonly bottom: number
  readonly left: number
  readonly right: number
}

/**
 * Image i with image B - 1 - i of the batch. Mixup without a box: lambda x + (1 - lambda) partner, targets alike. CutMix
 * with one: the partner inside of it, and a share of 1 - its area of the image's own targets, whatever lambda is. A
 * lambda of 1 mixes nothing, and shares its program with the steps that do.
 */
export interface Mix {
  readonly lambda?: number
  readonly box?: MixBox
}

/** The mixture of the batch of `step`, of images of `size` x `size` pixels, as timm draws it a batch. */
export function drawMix(options: MixOptions, seed: number, step: number, size: number): Mix {
  const { mixup, cutmix, probability, switchProbability } = options
  const draws = drawsAt(seed, Purpose.mix, step, 0)
  if (draws.unit() >= probability || (mixup === 0 && cutmix === 0)) return { lambda: 1 }
  const cuts = mixup === 0 || (cutmix > 0 && draws.unit() < switchProbability)
  const lambda = beta(cuts ? cutmix : mixup, draws)
  return cuts ? { lambda, box: boxOf(lambda, draws, size) } : { lambda }
}

/** The box of MixToken (Jiang et al., 2021) for the batch of `step`, on a grid of tokens: CutMix's, with Beta(1, 1). */
export function drawTokenBox(seed: number, step: number, grid: number): MixBox {
  const draws = drawsAt(seed, Purpose.mix, step, 0)
  return boxOf(beta(1, draws), draws, grid)
}

/** A box anywhere in a square of `size`, of 1 - lambda of its area where all of it lies inside. */
function boxOf(lambda: number, draws: Draws, size: number): MixBox {
  const side = Math.trunc(size * Math.sqrt(1 - lambda))
  const edges = () => {
    const from = draws.below(size) - (side >> 1)
    return [Math.max(0, from), Math.min(size, from + side)] as const
  }
  const [top, bottom] = edges()
  const [left, right] = edges()
  return { top, bottom, left, right }
}

/** A draw of Beta(a, a): the share of the first of two draws of Gamma(a). */
export function beta(a: number, draws: Draws): number {
  if (a === 1) return draws.unit()
  const [first, second] = [logGamma(a, draws), logGamma(a, draws)]
  return 1 / (1 + Math.exp(second - first))
}

/**
 * The logarithm of a draw of Gamma(a), by Marsaglia and Tsang (2000) for a + 1 and a power of a uniform draw; in logarithms
 * because a draw for a small `a` underflows.
 */
function logGamma(a: number, draws: Draws): number {
  const d = a + 1 - 1 / 3
  const c = 1 / Math.sqrt(9 * d)
  const power = Math.log(1 - draws.unit()) / a
  for (;;) {
    const x = draws.normal(0, 1)
    const v = (1 + c * x) ** 3
    if (v > 0 && Math.log(1 - draws.unit()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return Math.log(d * v) + power
  }
}
