/** Figures of a classifier: arithmetic on its guesses, no device, no files. */
import type { Guesses } from './guesses.js'

/** Of one class; a share of nothing is 0, as scikit-learn has it. */
export interface ClassFigures {
  readonly name: string
  /** Images of the class. */
  readonly support: number
  /** Of the images that are taken for it, the share that are of it. */
  readonly precision: number
  /** Of its images, the share that are taken for it. */
  readonly recall: number
  readonly f1: number
}

/** Images of one class that were taken for another. */
export interface ConfusedPair {
  readonly truth: string
  readonly guess: string
  readonly images: number
  /** Of the images of the class. */
  readonly share: number
}

/** The images whose guesses have a confidence in (from, to]. */
export interface CalibrationBin {
  readonly from: number
  readonly to: number
  readonly images: number
  /** Means over the bin; 0 where it is empty. */
  readonly confidence: number
  readonly accuracy: number
}

export interface Metrics {
  readonly images: number
  readonly top1: number
  readonly top5: number
  readonly classes: readonly ClassFigures[]
  /** Means over the classes that occur, each counting alike. */
  readonly macro: Pick<ClassFigures, 'precision' | 'recall' | 'f1'>
  /** [class, taken for, images], where there are any; by the places of the classes. */
  readonly confusion: readonly (readonly [truth: number, guess: number, images: number])[]
  /** The pairs of classes that are mistaken most often, the most frequent first. */
  readonly confused: readonly ConfusedPair[]
  /**
   * Expected calibration error: the mean distance between confidence and accuracy over 15 bins of equal width (Guo et al.,
   * On Calibration of Modern Neural Networks, 2017, equation 5).
   */
  readonly calibrationError: number
  readonly calibration: readonly CalibrationBin[]
}

const binCount = 15
const pairsListed = 10

/** `names` of the classes in their order. */
export function metricsOf(found: Guesses, names: readonly string[]): Metrics {
  const { length, truths, guesses, ranks } = found
  const confusion = confusionOf(found)
  const [support, taken, right] = [0, 0, 0].map(() => new Float64Array(names.length)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ]
  for (const [truth, guess, images] of confusion) {
    support[truth]! += images
    taken[guess]! += images
    if (truth === guess) right[truth]! += images
  }
  const share = (part: number, whole: number) => (whole === 0 ? 0 : part / whole)
  const classes = names.map((name, index) => {
    const [precision, recall] = [share(right[index]!, taken[index]!), share(right[index]!, support[index]!)]
    return { name, support: support[index]!, precision, recall, f1: share(2 * precision * recall, precision + recall) }
  })
  const occurring = classes.filter((_, index) => support[index]! + taken[index]! > 0)
  const mean = (key: 'precision' | 'recall' | 'f1') =>
    share(
      occurring.reduce((sum, each) => sum + each[key], 0),
      occurring.length,
    )
  const confused = confusion
    .filter(([truth, guess]) => truth !== guess)
    .sort((a, b) => b[2] - a[2] || a[0] - b[0] || a[1] - b[1])
    .slice(0, pairsListed)
    .map(([truth, guess, images]) => ({
      ...{ truth: names[truth]!, guess: names[guess]!, images },
      share: images / support[truth]!,
    }))
  const count = (is: (index: number) => boolean) => truths.reduce((sum, _, index) => sum + Number(is(index)), 0)
  const calibration = calibrationOf(found)
  return {
    images: length,
    top1: share(
      count((index) => guesses[index] === truths[index]),
      length,
    ),
    top5: share(
      count((index) => ranks[index]! < 5),
      length,
    ),
    classes,
    macro: { precision: mean('precision'), recall: mean('recall'), f1: mean('f1') },
    confusion,
    confused,
    calibrationError: calibration.reduce(
      (sum, { images, confidence, accuracy }) => sum + share(images, length) * Math.abs(confidence - accuracy),
      0,
    ),
    calibration,
  }
}

function confusionOf({ truths, guesses, classes }: Guesses): [number, number, number][] {
  const counts = new Map<number, number>()
  for (let i = 0; i < truths.length; i++) {
    const cell = truths[i]! * classes + guesses[i]!
    counts.set(cell, (counts.get(cell) ?? 0) + 1)
  }
  return [...counts]
    .sort(([a], [b]) => a - b)
    .map(([cell, images]) => [Math.floor(cell / classes), cell % classes, images])
}

function calibrationOf({ length, truths, guesses, confidences }: Guesses): CalibrationBin[] {
  const bins = Array.from({ length: binCount }, () => ({ images: 0, confidence: 0, right: 0 }))
  for (let i = 0; i < length; i++) {
    const bin = bins[Math.min(binCount - 1, Math.max(0, Math.ceil(confidences[i]! * binCount) - 1))]!
    bin.images++
    bin.confidence += confidences[i]!
    bin.right += Number(guesses[i] === truths[i])
  }
  return bins.map(({ images, confidence, right }, index) => ({
    ...{ from: index / binCount, to: (index + 1) / binCount, images },
    ...{ confidence: images === 0 ? 0 : confidence / images, accuracy: images === 0 ? 0 : right / images },
  }))
}
