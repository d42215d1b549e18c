/** A split made of encoded images: decoded once and kept where they are small and alike, decoded on demand otherwise. */
import { AutoprogError } from '../errors.js'
import { type BrokenImages, createBrokenImages, standIns } from './broken.js'
import { forEachConcurrently } from './concurrent.js'
import type { Image, LoadOptions, Split } from './dataset.js'
import { decodeImage, decodingLanes } from './decode.js'
import { checkIndex, inMemorySplit } from './in-memory.js'

/** Bytes of decoded pixels that one split may hold in memory. */
const memoryLimit = 1e9

export interface EncodedImages {
  /** Class index of every image (length). */
  readonly labels: Int32Array
  readonly channels: 1 | 3
  nameOf(index: number): string
  /** The bytes of image `index` as they are stored; rejects with IMAGE where they cannot be read. */
  read(index: number): Promise<Uint8Array>
  /** Makes an image of the bytes; they are those of an image file if not given. */
  decode?(bytes: Uint8Array, index: number): Promise<Image>
}

type EncodedOptions = Pick<LoadOptions, 'maxBroken' | 'signal' | 'onProgress'>

/**
 * Makes the split. Where all images decode to one size and fit in memory they are decoded here, and a broken one becomes a copy
 * of the image that stands in for it, label and name included. Throws DATA where too many are broken.
 */
export async function encodedSplit(
  images: EncodedImages,
  options: EncodedOptions = {},
): Promise<{ split: Split; notices: string[] }> {
  const { labels, channels, nameOf, read } = images
  const decode =
    images.decode ?? ((bytes: Uint8Array, index: number) => decodeImage(bytes, { name: nameOf(index), channels }))
  const load = async (index: number) => {
    checkIndex(index, labels.length)
    return decode(await read(index), index)
  }
  const broken = createBrokenImages(labels.length, options.maxBroken)
  const decoded = await decodeAll(labels.length, load, broken, options)
  if (decoded === undefined) {
    return { split: { length: labels.length, labels, uniform: undefined, load, nameOf }, notices: [] }
  }
  broken.check()
  const source = replaceBroken(decoded.pixels, labels, broken)
  const split = inMemorySplit({ ...decoded, ...source, channels, nameOf: (index) => nameOf(source.indices[index]!) })
  const summary = broken.summary()
  return { split, notices: summary === undefined ? [] : [summary] }
}

type Decoded = { pixels: Uint8Array; height: number; width: number }

/** Decodes every image into one array; gives up, returning undefined, at the first that differs in size or if they need too much memory. */
async function decodeAll(
  length: number,
  load: (index: number) => Promise<Image>,
  broken: BrokenImages,
  { signal, onProgress }: EncodedOptions,
): Promise<Decoded | undefined> {
  let decoded: Decoded | undefined
  let alike = true
  let done = 0
  await forEachConcurrently(length, decodingLanes, async (index) => {
    if (!alike) return
    signal?.throwIfAborted()
    const image = await load(index).catch((error) => noteBroken(error, index, broken))
    done += 1
    if (done % 500 === 0 || done === length) onProgress?.(done, length)
    if (image === undefined) return
    const { pixels, height, width } = image
    if (decoded === undefined && pixels.length * length <= memoryLimit) {
      decoded = { pixels: new Uint8Array(pixels.length * length), height, width }
    }
    if (decoded?.height === height && decoded.width === width) decoded.pixels.set(pixels, index * pixels.length)
    else alike = false
  })
  if (decoded === undefined) broken.check()
  return alike ? decoded : undefined
}

function noteBroken(error: unknown, index: number, broken: BrokenImages): undefined {
  if (!(error instanceof AutoprogError) || error.code !== 'IMAGE') throw error
  broken.note(index, error)
}

/** Copies over each broken image the one that stands in for it; the label follows. `indices` says which image is where. */
function replaceBroken(
  pixels: Uint8Array,
  labels: Int32Array,
  broken: BrokenImages,
): { indices: Int32Array; labels: Int32Array } {
  const stride = pixels.length / labels.length
  const indices = standIns(labels, broken)
  indices.forEach((source, index) => {
    if (source !== index) pixels.copyWithin(index * stride, source * stride, (source + 1) * stride)
  })
  return { indices, labels: indices.map((source) => labels[source]!) }
}
