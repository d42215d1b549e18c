/** What a network says of images whose classes are known, image by image: what every figure is counted of. */

export interface Guesses {
  readonly length: number
  readonly classes: number
  /** Of each image (N): its class, the likeliest class, and the rank of its own class among the guesses, from 0. */
  readonly truths: Int32Array
  readonly guesses: Int32Array
  readonly ranks: Int32Array
  /** Probabilities of the likeliest class and of the image's own (N). */
  readonly confidences: Float32Array
  readonly truthProbabilities: Float32Array
}

export interface GuessCollector {
  /** Adds a batch of probabilities (B, classes) in order. */
  add(probabilities: Float32Array, truths: Int32Array): void
  result(): Guesses
}

export function collectGuesses(length: number, classes: number): GuessCollector {
  const guesses: Guesses = {
    ...{ length, classes },
    ...{ truths: new Int32Array(length), guesses: new Int32Array(length), ranks: new Int32Array(length) },
    ...{ confidences: new Float32Array(length), truthProbabilities: new Float32Array(length) },
  }
  let at = 0
  return {
    add(probabilities, truths) {
      for (let i = 0; i < truths.length; i++, at++) {
        const row = probabilities.subarray(i * classes, (i + 1) * classes)
        const truth = truths[i]!
        let best = 0
        let rank = 0
        for (let c = 0; c < classes; c++) {
          if (row[c]! > row[best]!) best = c
          if (row[c]! > row[truth]! || (row[c] === row[truth] && c < truth)) rank++
        }
        guesses.truths[at] = truth
        guesses.guesses[at] = best
        guesses.ranks[at] = rank
        guesses.confidences[at] = row[best]!
        guesses.truthProbabilities[at] = row[truth]!
      }
    },
    result: () => guesses,
  }
}

/** Probabilities of one image's logits (classes). */
export function softmax(logits: Float32Array): Float64Array {
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
  const powers = Float64Array.from(logits, (value) => Math.exp(value - largest))
  const sum = powers.reduce((a, b) => a + b, 0)
  return powers.map((value) => value / sum)
}

/** The same of each row of (B, classes), in place. */
export function toProbabilities(logits: Float32Array, classes: number): Float32Array {
  for (let begin = 0; begin < logits.length; begin += classes)
    logits.set(softmax(logits.subarray(begin, begin + classes)), begin)
  return logits
}
