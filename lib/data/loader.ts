/** Batches of 8-bit pixels, prepared ahead of the step that uses them; order and crops depend on the seed alone. */
import { AutoprogError, expected } from '../errors.js'
import { Purpose } from '../random.js'
import { createBatchReader } from './batch.js'
import type { Split } from './dataset.js'
import { prefetch } from './prefetch.js'
import { type Augment, createSampler, type Sampler } from './sampler.js'

export type { Augment } from './sampler.js'

/** One batch. The device pads, crops and flips by `crops`, and resizes the images of uniform sets. */
export interface Batch {
  readonly step: number
  /** (B, H, W, C) */
  readonly images: Uint8Array
  readonly height: number
  readonly width: number
  readonly channels: 1 | 3
  /** Class indices, (B). */
  readonly labels: Int32Array
  /** (B, 3): dy and dx in [0, 2 pad] pixels of the zero-padded image, flip (0 or 1). */
  readonly crops: Int32Array
  /** Which images of the split these are, (B). */
  readonly indices: Int32Array
  /** Seconds for which the consumer waited for this batch. */
  readonly waited: number
}

export interface LoaderOptions {
  readonly batch: number
  readonly seed: number
  /** A new order every epoch; false for evaluation. */
  readonly shuffle: boolean
  /** Random crops and flips where shuffled; none if not given. */
  readonly augment?: Augment | undefined
  /** Batches prepared while the consumer works on one; 2 if not given. */
  readonly prefetch?: number
  /** Leave out the incomplete batch at an epoch's end; as `shuffle` if not given. */
  readonly dropLast?: boolean
  /** Share of broken images above which a run fails; 0.01 if not given. */
  readonly maxBroken?: number
  /** Told once of each broken image found, in a line for a human. */
  readonly onBroken?: (message: string) => void
}

export interface BatchesOptions {
  /** Steps count over the whole run: step s belongs to epoch floor(s / stepsPerEpoch). 0 if not given. */
  readonly firstStep?: number
  /** How many batches; without it endless where shuffled, otherwise to the end of the first pass. */
  readonly steps?: number
  /** Image size of a step in pixels. Not used for uniform sets, whose images come at their own size. */
  sizeOf?(step: number): number | undefined
  readonly signal?: AbortSignal | undefined
}

export interface Loader {
  readonly stepsPerEpoch: number
  /** The padding that `crops` refer to: dy = dx = pad without a flip is the image as it is. */
  readonly pad: number
  /** Throws the signal's reason on abort, DATA where too many images are broken. */
  batches(options?: BatchesOptions): AsyncIterable<Batch>
  /** The same `count` batches at every call, with the same crops: what candidates are scored on. `sizeOf` counts from 0. */
  fixedBatches(count: number, options?: Pick<BatchesOptions, 'sizeOf' | 'signal'>): AsyncIterable<Batch>
}

/** Throws CONFIG on a bad option, or a batch larger than the split where incomplete batches are left out. */
export function createLoader(split: Split, options: LoaderOptions): Loader {
  const { batch, seed, shuffle, prefetch: ahead = 2, dropLast = shuffle } = options
  const augment = options.augment ?? { flip: false, pad: 0 }
  const { pad } = augment
  for (const [subject, value, least] of [
    ['batch', batch, 1],
    ['seed', seed, 0],
    ['pad', pad, 0],
    ['prefetch', ahead, 0],
  ] as const) {
    checkInteger(subject, value, least)
  }
  if (split.length === 0) throw new AutoprogError('DATA', 'The split holds no images')
  if (dropLast && batch > split.length) {
    const message = expected(`at most the ${split.length} images of the split`, 'batch', batch)
    throw new AutoprogError('CONFIG', message, { hint: `use a batch of ${split.length} or less` })
  }
  const read = createBatchReader(split, options)
  const samplerFor = (purpose: typeof Purpose.order | typeof Purpose.candidateBatches) =>
    createSampler({ length: split.length, batch, seed, shuffle, dropLast, augment, purpose })
  const sampler = samplerFor(Purpose.order)
  const { stepsPerEpoch } = sampler

  async function* run(source: Sampler, first: number, count: number, { sizeOf, signal }: BatchesOptions) {
    const produce = async (step: number, stopped: AbortSignal) => {
      const sample = await source.at(step)
      const pixels = await read(sample.indices, () => checkSize(sizeOf?.(step), step), stopped)
      return { step, ...pixels, crops: sample.crops }
    }
    for await (const { item, waited } of prefetch({ first, count, ahead, signal, produce })) yield { ...item, waited }
  }

  return {
    stepsPerEpoch,
    pad,
    batches(given = {}) {
      const first = checkInteger('firstStep', given.firstStep ?? 0, 0)
      const rest = shuffle ? Number.POSITIVE_INFINITY : Math.max(0, stepsPerEpoch - first)
      return run(sampler, first, given.steps === undefined ? rest : checkInteger('steps', given.steps, 0), given)
    },
    fixedBatches: (count, given = {}) =>
      run(samplerFor(Purpose.candidateBatches), 0, checkInteger('the number of fixed batches', count, 0), given),
  }
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
