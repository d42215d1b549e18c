/** Which layers of a network a shallower one shares: sub-networks are nested, so that growing keeps what they learned. */
import { AutoprogError, expected } from '../errors.js'

function checkDepths(small: number, large: number): void {
  if (!Number.isInteger(small) || !Number.isInteger(large) || small < 1 || large < small)
    throw new AutoprogError('CONFIG', expected(`a depth from 1 to ${large}`, 'a sub-network', small))
}

/**
 * For each layer of the large network, from the input, the layer of the small one beside it: every layer is repeated
 * floor(large / small) times, the large mod small nearest the classifier once more (the authors' general form of
 * equation 3).
 */
export function interpolationMap(small: number, large: number): number[] {
  checkDepths(small, large)
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
 * The layers of the largest network that a sub-network of `depth` runs, ascending: those of the smallest one, and then
 * new ones from the deep end backwards.
 */
export function runningLayers(smallest: number, largest: number, depth: number): number[] {
  checkDepths(smallest, largest)
  if (!Number.isInteger(depth) || depth < smallest || depth > largest)
    throw new AutoprogError('CONFIG', expected(`a depth from ${smallest} to ${largest}`, 'a sub-network', depth))
  const kept = keptLayers(smallest, largest)
  const added = Array.from({ length: largest }, (_, layer) => layer).filter((layer) => !kept.includes(layer))
  return [...kept, ...(depth > smallest ? added.slice(smallest - depth) : [])].sort((a, b) => a - b)
}

/**
 * Outlookers and transformers of a VOLO of `depth` layers: an even number of outlookers, about 23% of the layers, at least
 * one of each kind. The count steps up where 21% of the depth passes an even number, as the reference's tables have it.
 */
export function outlookerSplit(depth: number): { outlookers: number; transformers: number } {
  const even = 2 * Math.floor((0.21 * depth) / 2) + 2
  const outlookers = Math.min(even, Math.max(1, depth - 1))
  return { outlookers, transformers: Math.max(1, depth - outlookers) }
}
