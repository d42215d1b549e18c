/** Which sub-networks there are: the growth space Omega, and the part of it that a stage searches. */
import { AutoprogError, expected } from '../errors.js'

/** A full network, as far as growth needs to know it. */
export interface FullNetwork {
  /** Blocks that can run or be left out. */
  readonly depth: number
  /** Pixels. */
  readonly resolution: number
  /** Candidate resolutions are multiples of this. */
  readonly multiple: number
}

export interface Subnetwork {
  readonly depth: number
  readonly resolution: number
  /** Ratios to the full network, before rounding. */
  readonly l: number
  readonly n: number
}

/** The candidates of both dimensions, one per stage, ascending; duplicates where rounding makes them meet. */
export interface GrowthSpace {
  readonly ratios: readonly number[]
  readonly depths: readonly number[]
  readonly resolutions: readonly number[]
}

/** `value` to the nearest multiple of `multiple`, at least one of them, but never below 0.9 of the value. */
export function roundToMultiple(value: number, multiple: number): number {
  const rounded = Math.max(multiple, Math.floor((value + multiple / 2) / multiple) * multiple)
  return rounded < 0.9 * value ? rounded + multiple : rounded
}

/** The sub-network of given ratios. Throws CONFIG for ratios outside of (0, 1]. */
export function subnetworkOf(full: FullNetwork, l: number, n: number): Subnetwork {
  for (const [name, ratio] of [
    ['l', l],
    ['n', n],
  ] as const)
    if (!(ratio > 0 && ratio <= 1))
      throw new AutoprogError('CONFIG', expected('a ratio above 0 and at most 1', name, ratio))
  return {
    depth: Math.min(full.depth, roundToMultiple(l * full.depth, 1)),
    resolution:
      n === 1 ? full.resolution : Math.min(full.resolution, roundToMultiple(n * full.resolution, full.multiple)),
    l,
    n,
  }
}

/** `stages` ratios evenly spaced from `ratio` to 1, with their depths and resolutions ("0.4 Omega"). Throws CONFIG. */
export function growthSpace(full: FullNetwork, stages: number, ratio: number): GrowthSpace {
  if (!Number.isInteger(stages) || stages < 1)
    throw new AutoprogError('CONFIG', expected('a positive integer', 'the number of stages', stages))
  const ratios = Array.from({ length: stages }, (_, k) =>
    stages === 1 ? 1 : k === stages - 1 ? 1 : ratio + ((1 - ratio) * k) / (stages - 1),
  )
  const networks = ratios.map((value) => subnetworkOf(full, value, value))
  return {
    ratios,
    depths: networks.map(({ depth }) => depth),
    resolutions: networks.map(({ resolution }) => resolution),
  }
}

/**
 * Lambda_k: the candidates of stage `stage` (from 1). The first stage takes the smallest, middle and largest of each
 * dimension; later ones the current depth and the next three, the current resolution and the next one.
 */
export function searchSpace(
  space: GrowthSpace,
  stage: number,
  current?: Pick<Subnetwork, 'depth' | 'resolution'>,
): Subnetwork[] {
  const pick = (values: readonly number[], from: number | undefined, next: number): number[] => {
    const distinct = [...new Set(values)]
    if (stage === 1 || from === undefined) {
      const middle = values[Math.floor(values.length / 2)]!
      return [...new Set([values[0]!, middle, values.at(-1)!])]
    }
    return distinct.filter((value) => value >= from).slice(0, next + 1)
  }
  const depths = pick(space.depths, current?.depth, 3)
  const resolutions = pick(space.resolutions, current?.resolution, 1)
  const ratioOf = (values: readonly number[], value: number) => space.ratios[values.lastIndexOf(value)]!
  return depths.flatMap((depth) =>
    resolutions.map((resolution) => ({
      depth,
      resolution,
      l: ratioOf(space.depths, depth),
      n: ratioOf(space.resolutions, resolution),
    })),
  )
}
