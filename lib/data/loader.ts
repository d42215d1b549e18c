/** Batches of 8-bit pixels, prepared ahead of the step that uses them; all that is drawn depends on the seed alone. */
import { AutoprogError, expected } from '../errors.js'
import { Purpose } from '../random.js'
import type { BatchPixels } from './batch.js'
import { createBatchReader } from './batch.js'
import { erasedBox } from './image/crops.js'
import { drawsOf, Use } from './image/draws.js'
import type { Augmentation, Evaluation, Strength } from './image/transform.js'
import type { LabelMaps, Labels } from './labels/token-labels.js'
import { prefetch } from './prefetch.js'
import { createSampler, type Sample, type Sampler } from './sampler.js'
import type { Split } from './source/dataset.js'

/** One batch. Where `crops` are given the device pads, crops and flips by them, and resizes the images. */
export interface Batch extends BatchPixels {
  readonly step: number
  /** The box of each image that is to be erased (B, 4: top, left, height, width), height 0 for none; undefined where never. */
  readonly erase?: Int32Array
  /** The label maps of the pictures, where there are any. */
  readonly labelMaps?: Labels
  /** Seconds for which the consumer waited for this batch. */
  readonly waited: number
}

export interface LoaderOptions {
  readonly batch: number
  readonly seed: number
  /** A new order every epoch; false for evaluation. */
  readonly shuffle: boolean
  /** How training images are made where shuffled; evaluation images if not given. */
  readonly augmentation?: Augmentation | undefined
  /** How evaluation images are made; of whole pictures if not given. */
  readonly evaluation?: Evaluation
  /** Times that an image comes in a row; 1 if not given. */
  readonly repeats?: number
  /** Threads on which images are decoded and transformed; 4 if not given, as many as libuv has. */
  readonly workers?: number
  /** Batches prepared while the consumer works on one; 2 if not given. */
  readonly prefetch?: number
  /** Leave out the incomplete batch at an epoch's end; as `shuffle` if not given. */
  readonly dropLast?: boolean
  /** Share of broken images above which a run fails; 0.01 if not given. */
  readonly maxBroken?: number
  /** Tell which part of its picture each image shows; false if not given, unless there are label maps. */
  readonly regions?: boolean
  /** Maps of the split's images, read along with them. */
  readonly labelMaps?: LabelMaps | undefined
  /** Where the pixels of a batch are put: memory of undefined contents, plain memory if not given. */
  readonly allocate?: (bytes: number) => Uint8Array
  /** Told once of each broken image found, in a line for a human. */
  readonly onBroken?: (message: string) => void
}

export interface BatchesOptions {
  /** Steps count over the whole run: step s belongs to epoch floor(s / stepsPerEpoch). 0 if not given. */
  readonly firstStep?: number
  /** How many batches; without it endless where shuffled, otherwise to the end of the first pass. */
  readonly steps?: number
  /** Image size of a step in pixels. Not asked for where the device resizes. */
  sizeOf?(step: number): number | undefined
  /** Strength of a step's augmentation; its own, without erasing, if not given. */
  strengthOf?(step: number): Strength
  readonly signal?: AbortSignal | undefined
}

export interface Loader {
  readonly stepsPerEpoch: number
  /** Throws the signal's reason on abort, DATA where too many images are broken. */
  batches(options?: BatchesOptions): AsyncIterable<Batch>
  /** The same `count` batches at every call, with the same draws: what candidates are scored on. Steps count from 0. */
  fixedBatches(count: number, options?: Pick<BatchesOptions, 'sizeOf' | 'strengthOf' | 'signal'>): AsyncIterable<Batch>
}

/** Throws CONFIG on a bad option, or a batch larger than the split where incomplete batches are left out. */
export function createLoader(split: Split, options: LoaderOptions): Loader {
  const { batch, seed, shuffle, prefetch: ahead = 2, dropLast = shuffle, repeats = 1, workers = 4 } = options
  const { evaluation = { fraction: 1, filter: 'bicubic' }, allocate = (bytes) => new Uint8Array(bytes) } = options
  const augmentation = shuffle ? options.augmentation : undefined
  for (const [subject, value, least] of [
    ['batch', batch, 1],
    ['seed', seed, 0],
    ['pad', augmentation?.pad ?? 0, 0],
    ['repeats', repeats, 1],
    ['workers', workers, 1],
    ['prefetch', ahead, 0],
  ] as const) {
    checkInteger(subject, value, least)
  }
  if (split.length === 0) throw new AutoprogError('DATA', 'The split holds no images')
  if (dropLast && batch > split.length) {
    const message = expected(`at most the ${split.length} images of the split`, 'batch', batch)
    throw new AutoprogError('CONFIG', message, { hint: `use a batch of ${split.length} or less` })
  }
  const { labelMaps, regions = labelMaps !== undefined } = options
  const read = createBatchReader(split, { ...options, augmentation, evaluation, workers, regions, allocate })
  const samplerFor = (purpose: typeof Purpose.order | typeof Purpose.candidateBatches) =>
    createSampler({ length: split.length, batch, seed, shuffle, dropLast, repeats, purpose })
  const sampler = samplerFor(Purpose.order)
  const { stepsPerEpoch } = sampler

  async function* run(source: Sampler, first: number, count: number, given: BatchesOptions) {
    const { sizeOf, strengthOf, signal } = given
    const produce = async (step: number, stopped: AbortSignal) => {
      const sample = await source.at(step)
      const strength = strengthOf?.(step) ?? { erasing: 0 }
      const size = () => checkSize(sizeOf?.(step), step)
      const pixels = await read(sample, { sizeOf: size, strength, signal: stopped })
      return {
        step,
        ...pixels,
        ...(strength.erasing > 0 && { erase: erasedBoxes(sample, size(), strength.erasing, seed) }),
        ...(labelMaps && { labelMaps: await labelMaps.batch(pixels.indices) }),
      }
    }
    // While the last images of a batch are made, free workers begin with the next.
    const items = prefetch({ first, count, ahead, together: 2, signal, produce })
    for await (const { item, waited } of items) yield { ...item, waited }
  }

  return {
    stepsPerEpoch,
    batches(given = {}) {
      const first = checkInteger('firstStep', given.firstStep ?? 0, 0)
      const rest = shuffle ? Number.POSITIVE_INFINITY : Math.max(0, stepsPerEpoch - first)
      return run(sampler, first, given.steps === undefined ? rest : checkInteger('steps', given.steps, 0), given)
    },
    fixedBatches: (count, given = {}) =>
      run(samplerFor(Purpose.candidateBatches), 0, checkInteger('the number of fixed batches', count, 0), given),
  }
}

/** (B, 4): top, left, height and width of each image's box. */
function erasedBoxes({ samples, epoch }: Sample, size: number, probability: number, seed: number): Int32Array {
  const boxes = new Int32Array(4 * samples.length)
  samples.forEach((sample, i) => {
    const box = erasedBox(size, probability, drawsOf({ seed, epoch, sample }, Use.erase))
    if (box !== undefined) boxes.set([box.top, box.left, box.height, box.width], 4 * i)
  })
  return boxes
}

function checkSize(size: number | undefined, step: number): number {
  if (size !== undefined) return checkInteger(`the image size of step ${step}`, size, 1)
  throw new AutoprogError(
    'CONFIG',
    `Expected an image size for step ${step}: the images of this dataset differ in size`,
  )
}

function checkInteger(subject: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value
  const kind = least === 1 ? 'a positive integer' : `an integer of at least ${least}`
  throw new AutoprogError('CONFIG', expected(kind, subject, value))
}
