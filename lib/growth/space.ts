/**
 * Which sub-networks there are: the growth space Omega, and Lambda_k, the part of it that a stage searches.
 *
 * The trainer meets this through `planStages` and `openStage` (schedules.ts); `subnetworkOf` alone answers what one pair
 * of ratios comes to.
 */
import { AutoprogError, expected } from '../errors.js'
import type { BlockKinds, Model } from '../models/model.js'
import { type Blocks, nestedSplit, stageBlocks, totalOf } from './layer-map.js'
import { roundToMultiple } from './rounding.js'

/** A full network, as far as growth needs to know it. */
export interface FullNetwork {
  readonly kinds: BlockKinds
  /** Blocks that can run or be left out, of each kind. */
  readonly blocks: Blocks
  /** Pixels. */
  readonly resolution: number
  /** Candidate resolutions are multiples of this; the full one has to be. */
  readonly multiple: number
}

export interface Subnetwork {
  /** Blocks of each kind, and all of them. */
  readonly blocks: Blocks
  readonly depth: number
  readonly resolution: number
  /** Ratios to the full network, before rounding. */
  readonly l: number
  readonly n: number
}

export const fullNetworkOf = ({ kinds, blocks, imageSize, growthMultiple }: Model): FullNetwork => ({
  ...{ kinds, blocks, resolution: imageSize, multiple: growthMultiple },
})

/** The candidates of both dimensions, one per stage, ascending; duplicates where rounding makes them meet. */
export interface GrowthSpace {
  readonly ratios: readonly number[]
  readonly blocks: readonly Blocks[]
  readonly depths: readonly number[]
  readonly resolutions: readonly number[]
}

/** The sub-network of given ratios. Throws CONFIG for ratios outside of (0, 1], and where no layer would be left. */
export function subnetworkOf(full: FullNetwork, l: number, n: number): Subnetwork {
  checkFull(full)
  checkRatio('the ratio of layers l', l)
  checkRatio('the ratio of resolution n', n)
  const blocks = blocksOf(full, l)
  return {
    blocks,
    depth: totalOf(blocks),
    resolution: Math.min(full.resolution, roundToMultiple(n * full.resolution, full.multiple)),
    l,
    n,
  }
}

/** The shallowest networks of those that grow layer by layer. */
const least = {
  layers: { depth: 1, named: 'at least one layer,', missing: 'none' },
  outlookers: {
    depth: 2,
    named: 'at least 2 layers, an outlooker and a transformer,',
    missing: 'no outlooker or no transformer',
  },
} as const

/** Throws CONFIG where no block would be left, or no outlooker beside a transformer. */
function blocksOf(full: FullNetwork, l: number): Blocks {
  const { kinds, blocks } = full
  if (kinds === 'stages') return stageBlocks(l, blocks)
  const total = totalOf(blocks)
  const { depth, missing } = least[kinds]
  if (l * total >= depth - 0.5) return blocksOfDepth(full, Math.min(total, roundToMultiple(l * total, 1)))
  throw new AutoprogError('CONFIG', `A ratio of ${l} leaves ${missing} of the ${total} layers`, {
    hint: `Use a ratio of at least ${Number((depth / total).toPrecision(3))}.`,
  })
}

/**
 * The blocks of a network of `depth` layers. Throws CONFIG for one of none, for a VOLO of one, and where the stages of a
 * ResNet, each with its share of blocks, never have so many.
 */
export function blocksOfDepth({ kinds, blocks }: FullNetwork, depth: number): Blocks {
  if (depth === totalOf(blocks)) return blocks
  if (kinds !== 'stages') {
    if (depth < least[kinds].depth) throw new AutoprogError('CONFIG', expected(least[kinds].named, 'the depth', depth))
    if (kinds === 'layers') return [depth]
    return nestedSplit(depth, [1, 1], blocks)
  }
  const networks = Array.from({ length: 100 }, (_, index) => stageBlocks((index + 1) / 100, blocks))
  const found = networks.find((each) => totalOf(each) === depth)
  if (found !== undefined) return found
  const depths = [...new Set(networks.map(totalOf))].join(', ')
  throw new AutoprogError('CONFIG', expected(`one of ${depths} blocks`, 'the depth', depth), {
    hint: 'Every stage has the same share of its blocks.',
  })
}

/** `stages` ratios evenly spaced from `ratio` to 1, with their depths and resolutions ("0.4 Omega"). Throws CONFIG. */
export function growthSpace(full: FullNetwork, stages: number, ratio: number): GrowthSpace {
  if (!Number.isInteger(stages) || stages < 1)
    throw new AutoprogError('CONFIG', expected('a positive integer', 'the number of stages', stages), {
      hint: 'The paper uses 4.',
    })
  checkRatio('the initial ratio', ratio)
  const ratios = Array.from({ length: stages }, (_, k) =>
    k === stages - 1 ? 1 : ratio + ((1 - ratio) * k) / (stages - 1),
  )
  const networks = nest(
    full,
    ratios.map((value) => subnetworkOf(full, value, value)),
  )
  return {
    ratios,
    blocks: networks.map(({ blocks }) => blocks),
    depths: networks.map(({ depth }) => depth),
    resolutions: networks.map(({ resolution }) => resolution),
  }
}

/** The same sub-networks with their outlookers so that each that is as deep as the one before it, or deeper, holds its layers. */
export function nest(full: FullNetwork, networks: readonly Subnetwork[]): Subnetwork[] {
  if (full.kinds !== 'outlookers') return [...networks]
  const nested: Subnetwork[] = []
  for (const network of networks) {
    const before = nested.at(-1)
    const holds = before !== undefined && network.depth >= before.depth
    // At an equal depth this is the split before, which nests in itself alone.
    nested.push(holds ? { ...network, blocks: nestedSplit(network.depth, before.blocks, full.blocks) } : network)
  }
  return nested
}

/**
 * What a search decides about the resolution. `free` is the paper's rule. The steps of a short run's search are too few for
 * a network to get used to another resolution, so that it would stay or jump by chance: `rising` stages have to take the
 * next one, and `scheduled` stages have the k-th in stage k, so that only the depth is searched.
 */
export const resolutionChoices = ['free', 'rising', 'scheduled'] as const
export type ResolutionChoice = (typeof resolutionChoices)[number]

/**
 * Lambda_k: the candidates of stage `stage` (from 1), at most 9, the shallow ones first. The first stage takes the
 * smallest, middle and largest of each dimension; later ones the current depth and the next three, the current
 * resolution and the next one (supplement, section B; unlike the authors' script, which leaves the current depth out).
 * `current` is what the stage before ended with. Throws CONFIG where a later stage has none.
 */
export function searchSpace(
  space: GrowthSpace,
  stage: number,
  current?: Pick<Subnetwork, 'depth' | 'resolution'>,
  choice: ResolutionChoice = 'free',
): Subnetwork[] {
  if (stage > 1 && current === undefined)
    throw new AutoprogError('CONFIG', `The candidates of stage ${stage} depend on what stage ${stage - 1} ended with`)
  const pick = (values: readonly number[], from: number | undefined, next: number): number[] => {
    const distinct = [...new Set(values)]
    if (stage > 1) return distinct.filter((value) => value >= from!).slice(0, next + 1)
    return [...new Set([distinct[0]!, distinct[distinct.length >> 1]!, distinct.at(-1)!])]
  }
  // Where several ratios round alike, the full size is called 1 and any other by its smallest ratio.
  const ratioOf = (values: readonly number[], value: number) =>
    value === values.at(-1) ? 1 : space.ratios[values.indexOf(value)]!
  const reachable = pick(space.resolutions, current?.resolution, 1)
  const resolutions = {
    free: reachable,
    rising: stage > 1 ? reachable.slice(-1) : reachable,
    scheduled: [space.resolutions[Math.min(stage, space.resolutions.length) - 1]!],
  }[choice]
  return pick(space.depths, current?.depth, 3).flatMap((depth) =>
    resolutions.map((resolution) => ({
      blocks: space.blocks[space.depths.indexOf(depth)]!,
      depth,
      resolution,
      l: ratioOf(space.depths, depth),
      n: ratioOf(space.resolutions, resolution),
    })),
  )
}

function checkRatio(name: string, ratio: number): void {
  if (ratio > 0 && ratio <= 1) return
  throw new AutoprogError('CONFIG', expected('a ratio above 0 and at most 1', name, ratio), {
    hint: 'Ratios are shares of the full network: 0.4 is 40%, 1 all of it.',
  })
}

function checkFull({ blocks, resolution, multiple }: FullNetwork): void {
  for (const [name, value] of Object.entries({ depth: totalOf(blocks), resolution, multiple }))
    if (!Number.isInteger(value) || value < 1)
      throw new AutoprogError('CONFIG', expected('a positive integer', `the full network's ${name}`, value))
  if (resolution % multiple !== 0)
    throw new AutoprogError('CONFIG', expected(`a multiple of ${multiple} pixels`, 'the full resolution', resolution), {
      hint: `Images are cut into whole patches: the nearest that fits is ${Math.max(1, Math.round(resolution / multiple)) * multiple}.`,
    })
}
