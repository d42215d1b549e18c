/** The random words that decide what becomes of one image: a stream of its own for each (seed, epoch, sample, use). */
import { draw, Purpose, toUnit } from '../../random.js'

/** Which of a sample's streams: what one use draws never shifts what another draws. */
export const Use = { crop: 0, recolour: 1, erase: 2, flip: 3 } as const
export type Use = (typeof Use)[keyof typeof Use]

const streams = 4
/** Four words each; no use draws nearly as many. */
const blocksPerStream = 64

export interface Draws {
  /** The stream's next number in [0, 1). */
  unit(): number
  /** The next number in [low, high). */
  between(low: number, high: number): number
  /** The next integer in [0, n). */
  below(n: number): number
  /** The next draw of a normal distribution (Box and Muller, 1958). */
  normal(mean: number, deviation: number): number
}

/** Where a sample's draws lie: its epoch, or a number beyond all epochs for images drawn apart, and its place in it. */
export interface SampleAddress {
  readonly seed: number
  readonly epoch: number
  readonly sample: number
}

export function drawsOf({ seed, epoch, sample }: SampleAddress, use: Use): Draws {
  const first = (sample * streams + use) * blocksPerStream
  return drawsAt(seed, Purpose.augmentation, epoch, first)
}

/** The stream that begins at block `first` of an address. */
export function drawsAt(seed: number, purpose: Purpose, step: number, first: number): Draws {
  let words: readonly number[] = []
  let taken = 0
  const unit = () => {
    if (taken % 4 === 0) words = draw(seed, purpose, step, first + taken / 4)
    return toUnit(words[taken++ % 4]!)
  }
  return {
    unit,
    between: (low, high) => low + (high - low) * unit(),
    below: (n) => Math.floor(n * unit()),
    normal(mean, deviation) {
      const radius = Math.sqrt(-2 * Math.log(1 - unit()))
      return mean + deviation * radius * Math.cos(2 * Math.PI * unit())
    },
  }
}
