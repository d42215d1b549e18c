/** The pixels of one batch: copied from memory where the split is uniform, decoded at the size of the step otherwise. */
import { AutoprogError, expected } from '../errors.js'
import { type BrokenImages, createBrokenImages, substitutes } from './broken.js'
import { forEachConcurrently, yieldToEventLoop } from './concurrent.js'
import type { Image, Split } from './dataset.js'
import { decodingLanes } from './decode.js'

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
}

/** Fetches the images `indices`; asks for `sizeOf()` only where images are decoded for the occasion. */
export type BatchReader = (indices: Int32Array, sizeOf: () => number, signal: AbortSignal) => Promise<BatchPixels>

export interface BatchReaderOptions {
  /** Share of broken images above which reading throws DATA. */
  readonly maxBroken?: number
  readonly onBroken?: (message: string) => void
}

export function createBatchReader(split: Split, options: BatchReaderOptions): BatchReader {
  const { uniform, pixels } = split
  const broken = createBrokenImages(split.length, options.maxBroken)
  if (uniform !== undefined && pixels !== undefined) {
    return (indices) => gather({ ...uniform, pixels: (index) => pixels.call(split, index) }, split.labels, indices)
  }
  const loadGood = createSubstitutingLoad(split, broken, options.onBroken)
  return async (indices, sizeOf, signal) => {
    const size = sizeOf()
    const loaded: Loaded[] = []
    await forEachConcurrently(indices.length, decodingLanes, async (i) => {
      signal.throwIfAborted()
      loaded[i] = await loadGood(indices[i]!, size)
    })
    return assemble(split, loaded, size)
  }
}

/** Copies the images of a uniform split side by side, with a pause every four megabytes. */
async function gather(
  source: { height: number; width: number; pixels: (index: number) => Uint8Array },
  allLabels: Int32Array,
  indices: Int32Array,
): Promise<BatchPixels> {
  const { height, width, pixels } = source
  const stride = pixels(0).length
  const perPause = Math.max(1, Math.floor(2 ** 22 / stride))
  const images = new Uint8Array(indices.length * stride)
  for (let i = 0; i < indices.length; i++) {
    if (i % perPause === perPause - 1) await yieldToEventLoop()
    images.set(pixels(indices[i]!), i * stride)
  }
  const channels = stride === height * width ? 1 : 3
  return { images, height, width, channels, labels: indices.map((index) => allLabels[index]!), indices }
}

interface Loaded {
  readonly index: number
  readonly image: Image
}

function assemble(split: Split, loaded: readonly Loaded[], size: number): BatchPixels {
  const channels = loaded[0]!.image.channels
  const stride = size * size * channels
  const images = new Uint8Array(loaded.length * stride)
  loaded.forEach(({ image, index }, i) => {
    if (image.pixels.length !== stride) {
      const subject = `the image ${split.nameOf(index)}`
      throw new AutoprogError('DATA', expected(`${size} x ${size} x ${channels} values`, subject, image.pixels))
    }
    images.set(image.pixels, i * stride)
  })
  const indices = Int32Array.from(loaded, ({ index }) => index)
  const labels = indices.map((index) => split.labels[index]!)
  return { images, height: size, width: size, channels, labels, indices }
}

/** Loads an image or, where it is broken, the one that stands in for it. */
function createSubstitutingLoad(split: Split, broken: BrokenImages, onBroken: BatchReaderOptions['onBroken']) {
  const loadUnlessBroken = async (index: number, size: number): Promise<Image | undefined> => {
    if (broken.has(index)) return undefined
    try {
      return await split.load(index, size)
    } catch (error) {
      if (!(error instanceof AutoprogError) || error.code !== 'IMAGE') throw error
      if (!broken.has(index)) onBroken?.(`${error.message}; another image stands in for it`)
      broken.note(index, error)
      broken.check()
      return undefined
    }
  }

  return async (index: number, size: number): Promise<Loaded> => {
    const image = await loadUnlessBroken(index, size)
    if (image !== undefined) return { index, image }
    for (const candidate of substitutes(index, split.labels)) {
      const substitute = await loadUnlessBroken(candidate, size)
      if (substitute !== undefined) return { index: candidate, image: substitute }
    }
    throw new AutoprogError('DATA', `None of the ${split.length} images can be read`)
  }
}
