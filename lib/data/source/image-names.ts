/** Which image of one listing is which of another, by name, wherever the two lie. */
import { yieldToEventLoop } from '../concurrent.js'
import type { Split } from './dataset.js'

/** What names an image in itself; a pack says besides which file it lies in. */
const ownName = (name: string): string => name.replace(/ in [^\n]*\.pack$/, '').normalize()

/** Class folder and file name. */
const lastTwo = (name: string): string => name.split(/[\\/]/).slice(-2).join('/')

const withoutEnding = (name: string): string => name.replace(/\.[^./]*$/, '')

/** How many names are looked at in one go. */
const slice = 2 ** 15

async function places(names: readonly string[], keyOf: (name: string) => string): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  for (let place = 0; place < names.length; place++) {
    if (place % slice === slice - 1) await yieldToEventLoop()
    const key = keyOf(names[place]!)
    found.set(key, found.has(key) ? -1 : place) // a key of several names stands for none
  }
  return found
}

const namesOf = ({ length, nameOf }: Split) => Array.from({ length }, (_, index) => ownName(nameOf(index)))

/** Names for a split's images that say nothing of where it lies, except where only that tells them apart. */
export async function portableNames(split: Split): Promise<string[]> {
  const names = namesOf(split)
  const unique = await places(names, lastTwo)
  return names.map((name) => (unique.get(lastTwo(name)) === -1 ? name : lastTwo(name)))
}

/**
 * For each image of a split its place among `names`, or -1: by the whole name, or by class folder and file name, with or
 * without its ending, where those are unique on both sides.
 */
export async function matchNames(split: Split, names: readonly string[]): Promise<Int32Array> {
  const images = namesOf(split)
  const result = new Int32Array(images.length).fill(-1)
  const same = (name: string) => name
  for (const [ours, theirs] of [
    [same, same],
    [lastTwo, lastTwo],
    [(name: string) => withoutEnding(lastTwo(name)), lastTwo],
  ] as const) {
    if (!result.includes(-1)) break
    const own = await places(images, ours)
    const known = await places(names, (name) => theirs(name.normalize()))
    for (const [key, index] of own) if (index >= 0 && result[index] === -1) result[index] = known.get(key) ?? -1
  }
  return result
}
