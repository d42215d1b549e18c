/** Splits made of encoded images: decoded on demand, or once and kept where they are small and alike. */

import { forEachConcurrently } from '../concurrent.js'
import { decodeImage, decodingLanes } from '../image/decode.js'
import { type BrokenImages, createBrokenImages, standIns } from './broken.js'
import type { Image, LoadOptions, Split } from './dataset.js'
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
  /** As in a split. */
  fingerprint(): Promise<string>
  keyOf?(index: number): string
  fileOf?(index: number): string | undefined
  /** Makes an image of the bytes; they are those of an image file if not given. */
  decode?(bytes: Uint8Array, index: number): Promise<Image>
}

/** A split whose images are decoded each time they are asked for. */
export function encodedSplit({ labels, channels, nameOf, keyOf, read, fingerprint, ...given }: EncodedImages): Split {
  const decode =
    given.decode ?? ((bytes: Uint8Array, index: number) => decodeImage(bytes, { name: nameOf(index), channels }))
  const readChecked = async (index: number) => {
    checkIndex(index, labels.length)
    return read(index)
  }
  const load = async (index: number) => decode(await readChecked(index), index)
  // Parts are decoded in colour alone.
  const encoded =
    channels === 3 && given.decode === undefined
      ? { read: readChecked, ...(given.fileOf && { fileOf: given.fileOf }) }
      : {}
  return {
    length: labels.length,
    labels,
    uniform: undefined,
    load,
    ...encoded,
    nameOf,
    ...(keyOf && { keyOf }),
    fingerprint,
  }
}

type DecodeAheadOptions = Pick<LoadOptions, 'maxBroken' | 'signal' | 'onProgress'>

/** Whether a split of images of one size is to be held in memory. */
export function fitsInMemory(length: number, { height, width, channels }: Omit<Image, 'pixels'>): boolean {
  return length * height * width * channels <= memoryLimit
}

/**
 * The split with its images decoded and held in memory, where all are of one size and fit; as it was otherwise. A broken image
 * becomes a copy of the image that stands in for it, label and name included. Throws DATA where too many are broken.
 */
export async function decodeAhead(
  split: Split,
  options: DecodeAheadOptions = {},
): Promise<{ split: Split; notices: string[] }> {
  const { length, labels, nameOf, fingerprint } = split
  const broken = createBrokenImages(length, options.maxBroken)
  const decoded = split.uniform === undefined ? await decodeAll(split, broken, options) : undefined
  if (decoded === undefined) return { split, notices: [] }
  broken.check()
  const source = replaceBroken(decoded.pixels, labels, broken)
  const held = inMemorySplit({ ...decoded, ...source, fingerprint, nameOf: (index) => nameOf(source.indices[index]!) })
  const summary = broken.summary()
  return { split: held, notices: summary === undefined ? [] : [summary] }
}

/** Decodes every image into one array; gives up, returning undefined, at the first that differs in size or if they need too much memory. */
async function decodeAll(
  { length, load }: Split,
  broken: BrokenImages,
  { signal, onProgress }: DecodeAheadOptions,
): Promise<Image | undefined> {
  let decoded: Image | undefined
  let alike = true
  let done = 0
  await forEachConcurrently(length, decodingLanes, async (index) => {
    if (!alike) return
    signal?.throwIfAborted()
    const image = await load(index).catch((error) => broken.note(index, error))
    done += 1
    if (done % 500 === 0 || done === length) onProgress?.(done, length)
    if (image === undefined) return
    const { pixels, height, width } = image
    if (decoded === undefined && fitsInMemory(length, image)) {
      decoded = { ...image, pixels: new Uint8Array(pixels.length * length) }
    }
    if (decoded?.height === height && decoded.width === width) decoded.pixels.set(pixels, index * pixels.length)
    else alike = false
  })
  if (decoded === undefined) broken.check()
  return alike ? decoded : undefined
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
