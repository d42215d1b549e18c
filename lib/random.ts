/**
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 * A draw is addressed by (seed, purpose, step, index), so it is the same on every device and needs no state to resume.
 */

/** What a draw is for: part of its address, so that no two uses ever share numbers. Mirrored in `native/runtime/philox.h`. */
export const Purpose = {
  initialization: 1,
  order: 2,
  augmentation: 3,
  stochasticDepth: 4,
  subnetwork: 5,
  candidateBatches: 6,
  split: 7,
  growth: 8,
  erasing: 10,
  mix: 11,
  validation: 12,
} as const
export type Purpose = (typeof Purpose)[keyof typeof Purpose]

/** The high and low words of a 32 x 32 bit product, in 16-bit halves: exact in doubles and free of BigInt. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff
  const aHigh = a >>> 16
  const bLow = b & 0xffff
  const bHigh = b >>> 16
  const low = aLow * bLow
  const middle1 = aHigh * bLow + (low >>> 16)
  const middle2 = aLow * bHigh + (middle1 & 0xffff)
  return (aHigh * bHigh + Math.floor(middle1 / 65536) + (middle2 >>> 16)) >>> 0
}

/** One Philox4x32-10 block: four 32-bit words from a 128-bit counter and a 64-bit key. */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter
  let [k0, k1] = key
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0 >>> 0)
    const low0 = Math.imul(0xd2511f53, c0) >>> 0
    const high1 = multiplyHigh(0xcd9e8d57, c2 >>> 0)
    const low1 = Math.imul(0xcd9e8d57, c2) >>> 0
    c0 = (high1 ^ c1 ^ k0) >>> 0
    c1 = low1
    c2 = (high0 ^ c3 ^ k1) >>> 0
    c3 = low0
    k0 = (k0 + 0x9e3779b9) >>> 0
    k1 = (k1 + 0xbb67ae85) >>> 0
  }
  return [c0, c1, c2, c3]
}

/** The four words of draw `index` of (seed, purpose, step). Seeds, steps and indices are integers in [0, 2^53). */
export function draw(seed: number, purpose: Purpose, step: number, index: number): [number, number, number, number] {
  const high = (value: number) => Math.floor(value / 2 ** 32) >>> 0
  // Counter: index (64 bits), step (48 bits), purpose (16 bits); key: the seed.
  return philox(
    [index >>> 0, high(index), step >>> 0, ((high(step) & 0xffff) | (purpose << 16)) >>> 0],
    [seed >>> 0, high(seed)],
  )
}

/** A 32-bit word as a number in [0, 1) with 24 random bits, so that it is exact in float32 too. */
export function toUnit(word: number): number {
  return (word >>> 8) / 2 ** 24
}

/** A 32-bit word as an integer in [0, n), n < 2^32: the multiply-shift of Lemire (bias below n / 2^32). */
export function toInteger(word: number, n: number): number {
  return Math.floor(((word >>> 0) / 2 ** 32) * n)
}

/** A permutation of 0 … n-1 (Fisher-Yates) that depends on its address alone. */
export function permutation(n: number, seed: number, purpose: Purpose, step: number): Int32Array {
  const order = Int32Array.from({ length: n }, (_, i) => i)
  let words: readonly number[] = []
  for (let i = n - 1; i > 0; i--) {
    const drawn = n - 1 - i
    if (drawn % 4 === 0) words = draw(seed, purpose, step, drawn / 4)
    const j = toInteger(words[drawn % 4]!, i + 1)
    const swapped = order[i]!
    order[i] = order[j]!
    order[j] = swapped
  }
  return order
}
