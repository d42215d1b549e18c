/**
 * Which layers of a network a shallower one shares: sub-networks are nested, so that growing keeps what they learned.
 *
 * While a stage searches, the network held has the depth of its largest candidate, and the trainer passes
 * `runningLayers(smallest, largest, depth)` as the `layers` of a step. When the search ends it keeps those of the winner:
 * `session.grow(layers.map((source) => ({ source, added: false })))`. Networks of several kinds of blocks (VOLO, ResNet)
 * go through the lists: `runningBlocks`, with `outlookerSplit` or `stageBlocks` for the numbers of blocks.
 */
import { AutoprogError, expected } from '../errors.js'
import type { BlockKinds } from '../models/model.js'
import { roundToMultiple } from './rounding.js'

/** Numbers of blocks of each kind, from the input: VOLO's outlookers and transformers, ResNet's four stages. */
export type Blocks = readonly number[]

function checkDepth(depth: number, smallest: number, largest: number): void {
  if (Number.isInteger(depth) && Number.isInteger(smallest) && smallest >= 1 && depth >= smallest && depth <= largest)
    return
  throw new AutoprogError('CONFIG', expected(`a depth from ${smallest} to ${largest}`, 'a sub-network', depth), {
    hint: 'Networks grow: a sub-network has at least one layer, and at most those of the network that holds it.',
  })
}

/**
 * For each layer of the large network, from the input, the layer of the small one beside it: every layer is repeated
 * floor(large / small) times, the large mod small nearest the classifier once more (the authors' general form of
 * equation 3). Throws CONFIG unless 1 <= small <= large.
 */
export function interpolationMap(small: number, large: number): number[] {
  checkDepth(small, 1, large)
  checkDepth(large, small, large)
  const repeats = Math.floor(large / small)
  const more = large % small
  return Array.from({ length: small }, (_, layer) =>
    Array<number>(repeats + (layer >= small - more ? 1 : 0)).fill(layer),
  ).flat()
}

/** The layers of the large network that the small one's own become: the first of each repetition. */
export function keptLayers(small: number, large: number): number[] {
  const map = interpolationMap(small, large)
  return Array.from({ length: small }, (_, layer) => map.indexOf(layer))
}

/**
 * The layers of the largest network that a sub-network of `depth` runs, ascending: those of the smallest one (`kept`),
 * and then new ones from the deep end backwards. After a growth by Stacking or RandInit the smallest network's own layers
 * lie elsewhere than Interpolation puts them: then `kept` is `ownLayers` of that growth. Throws CONFIG for a depth that
 * is not between the two.
 */
export function runningLayers(
  smallest: number,
  largest: number,
  depth: number,
  kept: readonly number[] = keptLayers(smallest, largest),
): number[] {
  checkDepth(depth, smallest, largest)
  const added = Array.from({ length: largest }, (_, layer) => layer).filter((layer) => !kept.includes(layer))
  return [...kept, ...added.slice(added.length - (depth - smallest))].sort((a, b) => a - b)
}

/** Blocks of a kind that are no part of growth: a stage's first, which down-samples, always runs and is never copied. */
const heldBack = (kinds: BlockKinds): 0 | 1 => (kinds === 'stages' ? 1 : 0)

/**
 * Lists a network's blocks from those of every kind: `list(kind, held)` gives the blocks of a kind that grow, without the
 * `held` (0 or 1) before them, counted from the first that grows. Counts start at the network's first block in the result.
 */
export function overKinds<T>(
  kinds: BlockKinds,
  large: Blocks,
  lists: {
    /** The block of a kind that stands before those that grow. */
    first(kind: number): T
    rest(kind: number, held: 0 | 1): T[]
  },
): T[] {
  const held = heldBack(kinds)
  return large.flatMap((_, kind) => [...(held ? [lists.first(kind)] : []), ...lists.rest(kind, held)])
}

/**
 * `runningLayers` of every kind of blocks, counted over the whole network. `kept` are the smallest network's own blocks
 * where they lie elsewhere than Interpolation puts them, counted so too.
 */
export function runningBlocks(
  kinds: BlockKinds,
  smallest: Blocks,
  largest: Blocks,
  blocks: Blocks,
  kept?: readonly number[],
): number[] {
  checkKinds(smallest, largest)
  checkKinds(blocks, largest)
  return overKinds(kinds, largest, {
    first: (kind) => firstBlock(largest, kind),
    rest: (kind, held) => {
      const from = firstBlock(largest, kind) + held
      const [small, large, wanted] = [smallest, largest, blocks].map((list) => list[kind]! - held) as [
        number,
        number,
        number,
      ]
      const own = kept?.filter((block) => block >= from && block < from + large).map((block) => block - from)
      // A stage's first block may stand alone; then those that it gains are all new.
      const running =
        small === 0
          ? Array.from({ length: wanted }, (_, index) => large - wanted + index)
          : runningLayers(small, large, wanted, own)
      return running.map((layer) => layer + from)
    },
  })
}

/** Index of the first block of a kind, counted over the whole network. */
export function firstBlock(blocks: Blocks, kind: number): number {
  return blocks.slice(0, kind).reduce((sum, count) => sum + count, 0)
}

export function totalOf(blocks: Blocks): number {
  return firstBlock(blocks, blocks.length)
}

/** Throws CONFIG unless both networks have the same kinds of blocks. */
export function checkKinds(blocks: Blocks, others: Blocks): void {
  if (blocks.length !== others.length || blocks.length === 0)
    throw new AutoprogError('CONFIG', expected(`blocks of ${others.length} kinds`, 'a sub-network', blocks))
}

/**
 * Outlookers and transformers of a VOLO of `depth` layers: 23% of the layers, rounded to an even number as resolutions are
 * to their multiples, are outlookers; at least one of each kind.
 */
export function outlookerSplit(depth: number): { outlookers: number; transformers: number } {
  const outlookers = Math.min(roundToMultiple(0.23 * depth, 2), Math.max(1, depth - 1))
  return { outlookers, transformers: Math.max(1, depth - outlookers) }
}

/**
 * `outlookerSplit` where it nests between those of a smaller and a larger VOLO. From 9 to 10 layers and from 19 to 20 the
 * rule takes a transformer away, which no nested network can do: such a depth keeps the smaller even number of outlookers
 * (an odd one where no even number nests). Throws CONFIG where the depth is not between the two.
 */
export function nestedSplit(depth: number, smallest: Blocks, largest: Blocks): readonly [number, number] {
  checkKinds(smallest, [0, 0])
  checkKinds(largest, [0, 0])
  checkDepth(depth, smallest[0]! + smallest[1]!, largest[0]! + largest[1]!)
  const low = Math.max(smallest[0]!, depth - largest[1]!)
  const high = Math.min(largest[0]!, depth - smallest[1]!)
  if (low > high)
    throw new AutoprogError(
      'CONFIG',
      `A VOLO of ${smallest.join(' + ')} layers does not nest in ${largest.join(' + ')}`,
    )
  const { outlookers } = outlookerSplit(depth)
  const distance = (count: number) => Math.abs(count - outlookers) + (count !== outlookers && count % 2 ? depth : 0)
  const counts = Array.from({ length: high - low + 1 }, (_, index) => low + index)
  const count = counts.reduce((best, each) => (distance(each) < distance(best) ? each : best))
  return [count, depth - count]
}

/**
 * Blocks of each stage of a ResNet with a ratio `l` of its blocks, rounded as depths are; at least one, since the first
 * block of a stage, which down-samples, always runs. Our own definition: the paper gives none.
 */
export function stageBlocks(l: number, blocks: Blocks): number[] {
  return blocks.map((count) => Math.min(count, roundToMultiple(l * count, 1)))
}
