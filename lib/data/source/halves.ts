/** How people name the halves of their data: `train` and `val`, `Training` and `Testing`, `seg_train` and `seg_test`. */

export type HalfName = 'train' | 'val' | 'test'

const spellings: Record<HalfName, readonly string[]> = {
  train: ['train', 'training'],
  val: ['val', 'valid', 'validation', 'dev'],
  test: ['test', 'testing'],
}

/** The halves that may be held out, the preferred first. */
export const heldOutHalves = ['val', 'test'] as const

const words = Object.entries(spellings).flatMap(([half, names]) =>
  names.map((word) => ({ half: half as HalfName, word, pattern: new RegExp(`(?<![a-z])${word}(?![a-z])`, 'i') })),
)

export interface NamedHalf {
  readonly half: HalfName
  /** The name with nothing for the word that names the half, in lower case: equal for the halves of one dataset. */
  readonly rest: string
}

/** The half that a folder's or an archive's name has as a word of its own, in any case; undefined where it has none, or two. */
export function halfOf(name: string): NamedHalf | undefined {
  const found = words.filter(({ pattern }) => pattern.test(name))
  if (new Set(found.map(({ half }) => half)).size !== 1) return undefined
  const { half, pattern } = found[0]!
  return { half, rest: name.replace(pattern, '').toLowerCase() }
}

/** The names of files that hold another half, made of that of the training half, in lower case; the preferred first. */
export function namesBeside(name: string): string[] {
  const [last] = [...name.toLowerCase().matchAll(/train(ing)?/g)].reverse()
  if (last === undefined) return []
  const [before, after] = [name.slice(0, last.index), name.slice(last.index + last[0].length)]
  return heldOutHalves.flatMap((half) => spellings[half].map((word) => `${before}${word}${after}`.toLowerCase()))
}

export interface FoundHalves {
  readonly train: string
  /** The preferred first. */
  readonly heldOut: readonly string[]
}

/**
 * Which of some folders are halves that belong together: a training half, with or without others beside it that are named alike.
 * Undefined where there is no training half, or more than one.
 */
export function findHalves(names: readonly string[]): FoundHalves | undefined {
  const named = names.flatMap((name) => {
    const found = halfOf(name)
    return found === undefined ? [] : [{ name, ...found }]
  })
  const groups = named
    .filter(({ half }) => half === 'train')
    .map(({ name, rest }) => ({ rest, train: name, heldOut: heldOutOf(named.filter((other) => other.rest === rest)) }))
  const plain = groups.filter(({ rest }) => rest === '')
  const paired = groups.filter(({ heldOut }) => heldOut.length > 0)
  const [only, another] = plain.length > 0 ? plain : paired
  return another === undefined ? only : undefined
}

/** By half, then by spelling. */
function heldOutOf(named: readonly (NamedHalf & { readonly name: string })[]): string[] {
  const rank = (name: string) => words.findIndex(({ pattern }) => pattern.test(name))
  return heldOutHalves.flatMap((half) =>
    named
      .filter((each) => each.half === half)
      .map(({ name }) => name)
      .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1)),
  )
}
