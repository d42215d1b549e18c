/** Growth operators (supplement, section A): where each layer of a grown network comes from. */
import { AutoprogError, expected } from '../errors.js'
import { interpolationMap } from './layer-map.js'

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
 * The layers of the grown network, from the input. MoGrow maps as Interpolation does; which of its weights come from the
 * moving average is the session's part. Throws CONFIG when the network would shrink.
 */
export function grow(
  operator: GrowthOperator,
  small: number,
  large: number,
  from: CountFrom = 'classifier',
): GrownLayer[] {
  if (!Number.isInteger(small) || small < 1 || !Number.isInteger(large) || large < small)
    throw new AutoprogError('CONFIG', expected(`a depth of at least ${small}`, 'growing', large))
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
