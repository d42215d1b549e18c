/** The policy for broken images: name them, count them, put the next good one in their place, and give up above a set share. */
import { AutoprogError, expected } from '../../errors.js'
import { asBrokenImage } from '../image/fault.js'

const listed = 20

/** Share of broken images above which training refuses a split. */
const defaultMaxBroken = 0.01

/** Fewer than this are too few to be a share, as long as they are no more than a tenth; one always is. */
const few = 3

/** How many images of a split may be broken: a share of many, up to three of less than some hundreds, none at a share of 0. */
export function mostBroken(length: number, share = defaultMaxBroken): number {
  return share === 0 ? 0 : Math.floor(Math.max(share * length, Math.min(few, length / 10), 1))
}

/** The broken images of one split found so far. */
export interface BrokenImages {
  readonly size: number
  has(index: number): boolean
  /** Throws the error on where it is not about one image. */
  note(index: number, error: unknown): void
  /** Throws DATA, listing the names, where more images are broken than may be. */
  check(): void
  /** One line for a human; undefined while nothing is broken. */
  summary(): string | undefined
}

/** `length` counts the split's images, `share` in [0, 1] is the part of them that may be broken, as `mostBroken` has it. */
export function createBrokenImages(length: number, share = defaultMaxBroken): BrokenImages {
  if (!(share >= 0 && share <= 1)) {
    throw new AutoprogError('CONFIG', expected('a number from 0 to 1', 'maxBroken', share))
  }
  const most = mostBroken(length, share)
  const reasons = new Map<number, string>()
  const list = () => {
    const lines = [...reasons].sort(([a], [b]) => a - b).map(([, reason]) => reason)
    const more = lines.length > listed ? `; and ${lines.length - listed} more` : ''
    return lines.slice(0, listed).join('; ') + more
  }
  return {
    get size() {
      return reasons.size
    },
    has: (index) => reasons.has(index),
    note: (index, error) =>
      void reasons.set(index, asBrokenImage(error).message.replace(/^Cannot read the image /, '')),
    check() {
      if (reasons.size <= most) return
      throw new AutoprogError('DATA', `${reasons.size} of ${length} images are broken: ${list()}`, {
        hint: `replace or remove them; at most ${most} of them may be broken`,
      })
    },
    summary: () =>
      reasons.size === 0 ? undefined : `${reasons.size} of ${length} images are broken, others stand in: ${list()}`,
  }
}

/** Who may stand in for image `index`, best first: the next ones of its class in cyclic order, then the next of any class. */
export function* substitutes(index: number, labels: Int32Array): Generator<number> {
  for (const sameClass of [true, false]) {
    for (let offset = 1; offset < labels.length; offset++) {
      const candidate = (index + offset) % labels.length
      if ((labels[candidate] === labels[index]) === sameClass) yield candidate
    }
  }
}

/** Which image is shown for each: itself, or where it is broken the one that stands in for it. At least one has to be good. */
export function standIns(labels: Int32Array, broken: BrokenImages): Int32Array {
  return Int32Array.from(labels, (_, index) => {
    if (!broken.has(index)) return index
    for (const candidate of substitutes(index, labels)) if (!broken.has(candidate)) return candidate
    return index
  })
}
