/** The pixels of one batch: copied from memory for the device to crop, or transformed on the host. */
import { AutoprogError } from '../errors.js'
import { createLanes, forEachConcurrently, yieldToEventLoop } from './concurrent.js'
import { asBrokenImage } from './image/fault.js'
import { jpegSize } from './image/jpeg.js'
import { inTurn } from './image/limits.js'
import { decodesJpegs, type ImageOp, transformImages, transformJpeg } from './image/operations.js'
import type { Augmentation, Evaluation, Strength } from './image/transform.js'
import { evaluationPlan, isForDevice, regionShown, shiftOf, trainingPlan } from './image/transform.js'
import type { Sample } from './sampler.js'
import { type BrokenImages, createBrokenImages, substitutes } from './source/broken.js'
import type { Image, Split } from './source/dataset.js'

export interface BatchPixels {
  /** (B, H, W, C) */
  readonly images: Uint8Array
  readonly height: number
  readonly width: number
  readonly channels: 1 | 3
  /** Class indices, (B). */
  readonly labels: Int32Array
  /** The images really taken, (B): for a broken one, the index of the one that stands in for it. */
  readonly indices: Int32Array
  /** (B, 3): top and left in [0, 2 pad] and flip (0 or 1), left to the device; undefined where nothing is. */
  readonly crops?: Int32Array
  /** Pixels of black around each image that `crops` refer to. */
  readonly pad: number
  /** Where asked for, (B, 5): the part of its picture that each image shows, as `Region` has it. */
  readonly regions?: Float32Array
  /** Seconds of work on all threads together. */
  readonly decodeSeconds: number
  readonly transformSeconds: number
}

export interface ReadOptions {
  /** Side of the images, in pixels; asked for only where the host transforms. */
  readonly sizeOf: () => number
  readonly strength: Partial<Strength>
  readonly signal: AbortSignal
}

export type BatchReader = (sample: Sample, options: ReadOptions) => Promise<BatchPixels>

export interface BatchReaderOptions {
  readonly seed: number
  /** Of training; evaluation where undefined. */
  readonly augmentation: Augmentation | undefined
  readonly evaluation: Evaluation
  /** Threads that images are made on. */
  readonly workers: number
  /** Tell which part of its picture each image shows. */
  readonly regions?: boolean
  /** Share of broken images above which reading throws DATA. */
  readonly maxBroken?: number
  /** Memory for the pixels of a batch. */
  readonly allocate: (bytes: number) => Uint8Array
  readonly onBroken?: (message: string) => void
}

export function createBatchReader(split: Split, options: BatchReaderOptions): BatchReader {
  const { uniform, pixels } = split
  const { augmentation, evaluation } = options
  const broken = createBrokenImages(split.length, options.maxBroken)
  if (uniform === undefined || pixels === undefined) return decodingReader(split, broken, options)
  const memory: Memory = { ...uniform, labels: split.labels, pixels: (index) => pixels.call(split, index) }
  const square = uniform.width === uniform.height
  const forDevice = augmentation === undefined ? evaluation.fraction === 1 : isForDevice(augmentation)
  return square && forDevice ? copyingReader(memory, options) : transformingReader(memory, options)
}

/** Decoded images of one size. */
interface Memory {
  readonly height: number
  readonly width: number
  readonly labels: Int32Array
  pixels(index: number): Uint8Array
}

const channelsOf = ({ height, width, pixels }: Memory): 1 | 3 => (pixels(0).length === height * width ? 1 : 3)

const labelsOf = (labels: Int32Array, indices: Int32Array) => indices.map((index) => labels[index]!)

/** Copies images side by side, with a pause every four megabytes. */
function copyingReader(memory: Memory, { seed, augmentation, regions: asked, allocate }: BatchReaderOptions) {
  const { height, width, labels, pixels } = memory
  const channels = channelsOf(memory)
  const stride = height * width * channels
  const perPause = Math.max(1, Math.floor(2 ** 22 / stride))
  const cropsOf = ({ samples, epoch }: Sample, { pad, flip }: Augmentation) =>
    Int32Array.from(
      samples.flatMap((sample) => {
        const { top, left, flipped } = shiftOf({ pad, flip }, { seed, epoch, sample })
        return [top, left, flipped]
      }),
    )
  return async (sample: Sample): Promise<BatchPixels> => {
    const { indices } = sample
    const images = allocate(indices.length * stride)
    for (let i = 0; i < indices.length; i++) {
      if (i % perPause === perPause - 1) await yieldToEventLoop()
      images.set(pixels(indices[i]!), i * stride)
    }
    const crops = augmentation && { crops: cropsOf(sample, augmentation) }
    const pad = augmentation?.pad ?? 0
    const seconds = { decodeSeconds: 0, transformSeconds: 0 }
    const regions = asked && { regions: shiftedRegions(indices.length, crops?.crops, pad, memory) }
    const found = { labels: labelsOf(labels, indices), indices, ...crops, pad, ...regions }
    return { images, height, width, channels, ...found, ...seconds }
  }
}

/** (B, 5): what shifts leave of whole pictures. */
function shiftedRegions(count: number, crops: Int32Array | undefined, pad: number, { height, width }: Memory) {
  return Float32Array.from(
    Array.from({ length: count }, (_, i) => {
      const [top, left, mirrored] = crops === undefined ? [pad, pad, 0] : crops.subarray(3 * i, 3 * i + 3)
      const [x, y] = [(left! - pad) / width, (top! - pad) / height]
      return [x, y, x + 1, y + 1, mirrored!]
    }).flat(),
  )
}

/** Takes down which part of its picture each image of a batch shows, where that is asked for. */
function regionsOf(count: number, { regions: asked }: BatchReaderOptions) {
  const regions = asked ? new Float32Array(5 * count) : undefined
  return {
    regions: regions && { regions },
    note: (i: number, plan: readonly ImageOp[], picture: { width: number; height: number }) =>
      regions?.set(regionShown(plan, picture), 5 * i),
  }
}

function plannerOf({ seed, augmentation, evaluation }: BatchReaderOptions) {
  return (picture: { width: number; height: number }, size: number, sample: Sample, i: number, options: ReadOptions) =>
    augmentation === undefined
      ? evaluationPlan(picture, size, evaluation)
      : trainingPlan(picture, size, augmentation, options.strength, {
          seed,
          epoch: sample.epoch,
          sample: sample.samples[i]!,
        })
}

/** Images of one call into the addon, where each is small. */
const chunk = 32

/** Transforms images that lie decoded in memory. */
function transformingReader(memory: Memory, options: BatchReaderOptions): BatchReader {
  const { height, width, labels, pixels } = memory
  const channels = channelsOf(memory)
  const planOf = plannerOf(options)
  const lanes = createLanes(options.workers)
  return async (sample, read) => {
    const { indices } = sample
    const size = read.sizeOf()
    const images = options.allocate(indices.length * size * size * channels)
    const { regions, note } = regionsOf(indices.length, options)
    let transformSeconds = 0
    const transformPart = async (part: number) => {
      read.signal.throwIfAborted()
      const sources: Image[] = []
      const plans: ImageOp[][] = []
      for (let i = part * chunk; i < Math.min(indices.length, (part + 1) * chunk); i++) {
        sources.push({ pixels: pixels(indices[i]!), height, width, channels })
        const plan = planOf(memory, size, sample, i, read)
        note(i, plan, memory)
        plans.push(plan)
      }
      const offset = part * chunk * size * size * channels
      const side = { height: size, width: size }
      transformSeconds += await transformImages(sources, channels, plans, side, images, offset)
    }
    const parts = Math.ceil(indices.length / chunk)
    await forEachConcurrently(parts, parts, (part) => lanes(() => transformPart(part)))
    const found = { labels: labelsOf(labels, indices), indices, pad: 0, ...regions }
    return { images, height: size, width: size, channels, ...found, decodeSeconds: 0, transformSeconds }
  }
}

/** Images under way for each worker: while one is decoded another is read. */
const lanesAWorker = 2

/** Decodes images for the occasion. */
function decodingReader(split: Split, broken: BrokenImages, options: BatchReaderOptions): BatchReader {
  const loadGood = createSubstitutingLoad(split, broken, options.onBroken)
  const transformPart = partialDecoder(split, options)
  const planOf = plannerOf(options)
  const lanes = createLanes(lanesAWorker * options.workers)
  return async (sample, read) => {
    const size = read.sizeOf()
    const side = { height: size, width: size }
    const indices = Int32Array.from(sample.indices)
    const { regions, note } = regionsOf(indices.length, options)
    let images: Uint8Array | undefined
    let channels: 1 | 3 = 3
    let [decodeSeconds, transformSeconds] = [0, 0]
    const place = (i: number, of: 1 | 3): [Uint8Array, number] => {
      channels = of
      const stride = size * size * channels
      images ??= options.allocate(indices.length * stride)
      return [images, i * stride]
    }
    const make = async (i: number) => {
      read.signal.throwIfAborted()
      const plan = (picture: { width: number; height: number }) => {
        const ops = planOf(picture, size, sample, i, read)
        note(i, ops, picture)
        return ops
      }
      const part = broken.has(indices[i]!) ? undefined : await transformPart(indices[i]!, plan, side, () => place(i, 3))
      if (part !== undefined) {
        decodeSeconds += part[0]
        transformSeconds += part[1]
        return
      }
      const begun = performance.now()
      const { index, image } = await loadGood(indices[i]!)
      decodeSeconds += (performance.now() - begun) / 1000
      indices[i] = index
      transformSeconds += await transformImages(
        [image],
        image.channels,
        [plan(image)],
        side,
        ...place(i, image.channels),
      )
    }
    await forEachConcurrently(indices.length, indices.length, (i) => lanes(() => make(i)))
    const found = { labels: labelsOf(split.labels, indices), indices, pad: 0, ...regions }
    return { images: images!, ...side, channels, ...found, decodeSeconds, transformSeconds }
  }
}

/**
 * Decodes and transforms images of which a part is enough, and gives undefined for all others. An image is read whole the
 * first time, so that whether it is sound does not depend on the parts that were asked for, nor on where a run resumed.
 */
function partialDecoder({ length, read, fileOf }: Split, { augmentation }: BatchReaderOptions) {
  const exact = augmentation?.exact ?? true
  const isPossible = read !== undefined && decodesJpegs()
  const isUnusual = new Uint8Array(length)
  /** Of images that were found to be sound: width * 2^16 + height, else 0. */
  const sizes = new Uint32Array(length)
  return async (
    index: number,
    planOf: (picture: { width: number; height: number }) => ImageOp[],
    side: { height: number; width: number },
    place: () => [Uint8Array, number],
  ): Promise<[number, number] | undefined> => {
    if (!isPossible || isUnusual[index]) return undefined
    const size = sizes[index]!
    const file = size === 0 ? undefined : fileOf?.(index)
    const source = file ?? (await read(index).catch(() => undefined)) // what cannot be read, the other decoder names
    const known = size === 0 ? undefined : { width: size >>> 16, height: size & 0xffff }
    const picture = known ?? (source instanceof Uint8Array ? jpegSize(source) : undefined)
    const options = { exact, verify: known === undefined, ...side }
    const seconds =
      source === undefined || picture === undefined
        ? undefined
        : await inTurn(picture.width, picture.height, () =>
            transformJpeg(source, picture, planOf(picture), options, ...place()),
          )
    if (seconds === undefined) isUnusual[index] = 1
    else sizes[index] = picture!.width * 2 ** 16 + picture!.height
    return seconds
  }
}

interface Loaded {
  readonly index: number
  readonly image: Image
}

/** Loads an image or, where it is broken, the one that stands in for it. */
function createSubstitutingLoad(split: Split, broken: BrokenImages, onBroken: BatchReaderOptions['onBroken']) {
  const loadUnlessBroken = async (index: number): Promise<Image | undefined> => {
    if (broken.has(index)) return undefined
    try {
      return await split.load(index)
    } catch (error) {
      const { message } = asBrokenImage(error)
      if (!broken.has(index)) onBroken?.(`${message}; another image stands in for it`)
      broken.note(index, error)
      broken.check()
      return undefined
    }
  }

  return async (index: number): Promise<Loaded> => {
    const image = await loadUnlessBroken(index)
    if (image !== undefined) return { index, image }
    for (const candidate of substitutes(index, split.labels)) {
      const substitute = await loadUnlessBroken(candidate)
      if (substitute !== undefined) return { index: candidate, image: substitute }
    }
    throw new AutoprogError('DATA', `None of the ${split.length} images can be read`)
  }
}
