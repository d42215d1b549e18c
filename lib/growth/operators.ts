/**
 * Growth operators (supplement, section A): where each layer of a grown network comes from.
 *
 * At the start of a stage that is deeper than the network held (the winner's depth), the trainer calls
 * `session.grow(growBlocks(kinds, operator, held, blocks), { fromAverage: averagedLayers(operator, reading) })`. Where the depth stays,
 * nothing grows: then not even MoGrow replaces weights.
 */
import { AutoprogError, expected } from '../errors.js'
import type { BlockKinds } from '../models/model.js'
import type { Blocks } from './layer-map.js'
import { checkKinds, firstBlock, interpolationMap, overKinds } from './layer-map.js'

export type GrowthOperator = 'mogrow' | 'interpolation' | 'stacking' | 'rand-init'

/** Where counting of layers begins; the paper's default is the classifier. */
export type CountFrom = 'classifier' | 'input'

/** One layer of the grown network. */
export interface GrownLayer {
  /** Layer of the small network, from the input; null for random values. */
  readonly source: number | null
  /** Whether it is a new layer, rather than the source itself in its new place. */
  readonly added: boolean
}

/**
 * The layers of the grown network, from the input. MoGrow maps as Interpolation does; `averagedLayers` says which of its
 * weights come from the moving average. Throws CONFIG when the network would shrink.
 */
export function grow(
  operator: GrowthOperator,
  small: number,
  large: number,
  from: CountFrom = 'classifier',
): GrownLayer[] {
  if (!Number.isInteger(small) || small < 1 || !Number.isInteger(large) || large < small)
    throw new AutoprogError('CONFIG', expected(`a depth of at least ${small}`, 'growing', large), {
      hint: 'A network of at least one layer grows; it never shrinks.',
    })
  if (operator === 'mogrow' || operator === 'interpolation') {
    const map = interpolationMap(small, large)
    return map.map((source, layer) => ({ source, added: map.indexOf(source) !== layer }))
  }
  // Equations 1 and 2 count i from the classifier: turn the list of the input's count around.
  const counted = Array.from({ length: large }, (_, i): GrownLayer => {
    if (operator === 'rand-init') return { source: i < small ? i : null, added: i >= small }
    return { source: i % small, added: i >= small }
  })
  if (from === 'input') return counted
  return counted.map(({ source, added }) => ({ source: source === null ? null : small - 1 - source, added })).reverse()
}

/** `grow` of every kind of blocks, counted over the whole network: VOLO's outlookers and transformers, ResNet's stages. */
export function growBlocks(
  kinds: BlockKinds,
  operator: GrowthOperator,
  small: Blocks,
  large: Blocks,
  from?: CountFrom,
): GrownLayer[] {
  checkKinds(small, large)
  return overKinds(kinds, large, {
    first: (kind): GrownLayer => ({ source: firstBlock(small, kind), added: false }),
    rest: (kind, held) => {
      const [less, more] = [small[kind]! - held, large[kind]! - held]
      const first = firstBlock(small, kind) + held
      // A stage's first block alone has nothing of the right shape to copy.
      if (less === 0) return Array.from({ length: more }, (): GrownLayer => ({ source: null, added: true }))
      return grow(operator, less, more, from).map(({ source, added }) => ({
        source: source === null ? null : source + first,
        added,
      }))
    },
  })
}

/** Layers of the grown network that are the small one's own in their new places, ascending. */
export function ownLayers(layers: readonly GrownLayer[]): number[] {
  return layers.flatMap(({ added }, layer) => (added ? [] : [layer]))
}

/**
 * Which layers of a grown network take their weights from the slowest moving average: MoGrow's, either all of them, as
 * the authors' script does, or the new ones only, the other reading of the paper.
 */
export function averagedLayers(operator: GrowthOperator, reading: 'all' | 'new'): 'none' | 'all' | 'added' {
  if (operator !== 'mogrow') return 'none'
  return reading === 'all' ? 'all' : 'added'
}
