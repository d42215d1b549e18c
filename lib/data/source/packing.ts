/** Makes a pack of a dataset: every image is decoded once, made smaller where it is large, and stored to be read quickly. */
import sharp from 'sharp'
import { crc32 } from '../../checksum.js'
import { AutoprogError, expected } from '../../errors.js'
import { forEachConcurrently } from '../concurrent.js'
import { decodingLanes } from '../image/decode.js'
import { transformImages } from '../image/operations.js'
import { prefetch } from '../prefetch.js'
import { createBrokenImages, standIns } from './broken.js'
import type { Dataset, Image, Split } from './dataset.js'
import { type Columns, createColumns, type PackedHalf, writePack } from './pack-file.js'

export interface PackOptions {
  /** The longer side of an image at most, in pixels; larger ones are scaled down (antialiased, bicubic), none up. 288 if not given. */
  readonly maxSize?: number
  /** Of the JPEG files, 1 to 100; 90 if not given. Colours keep their full resolution (4:4:4). */
  readonly quality?: number
  /** Store pixels instead of JPEG files. */
  readonly raw?: boolean
  /** Share of broken images of a half above which packing fails; 0.01 if not given. */
  readonly maxBroken?: number
  readonly signal?: AbortSignal
  /** Told now and then how many images are packed. */
  readonly onProgress?: (done: number, total: number) => void
}

export interface PackResult {
  /** Size of the file. */
  readonly bytes: number
  readonly notices: readonly string[]
}

/**
 * Packs both halves into `file`, the same bytes whenever images and options are the same. A broken image gives way to the one
 * that stands in for it, label and name included. Throws CONFIG on a bad option, DATA where too many images are broken or the
 * file cannot be written.
 */
export async function packDataset(dataset: Dataset, file: string, options: PackOptions = {}): Promise<PackResult> {
  const { maxSize = 288, quality = 90, raw = false, onProgress } = options
  const format = { maxSize: checkRange('maxSize', maxSize, 65_535), quality: checkRange('quality', quality, 100), raw }
  const { name, classes, channels, train, test } = dataset
  const notices = [...dataset.notices]
  const { bytes } = await writePack(file, async (append) => {
    const pack = async (split: Split, before: number) => {
      const progress = (done: number) => onProgress?.(before + done, train.length + test.length)
      const { half, summary } = await packHalf(split, append, format, options, progress)
      if (summary !== undefined) notices.push(summary)
      return half
    }
    const halves = { train: await pack(train, 0), test: await pack(test, train.length) }
    const settings = `at most ${maxSize} px, ${raw ? 'raw pixels' : `JPEG of quality ${quality}`}`
    return { name, classes, channels, encoding: raw ? 'raw' : 'jpeg', settings, notices, ...halves }
  })
  return { bytes, notices }
}

type Format = Required<Pick<PackOptions, 'maxSize' | 'quality' | 'raw'>>

/** Images of one item of work. */
const chunk = 64

async function packHalf(
  split: Split,
  append: (bytes: Uint8Array) => Promise<number>,
  format: Format,
  { maxBroken, signal }: PackOptions,
  onProgress: (done: number) => void,
): Promise<{ half: PackedHalf; summary: string | undefined }> {
  const { length } = split
  const broken = createBrokenImages(length, maxBroken)
  const columns = createColumns(length)
  const packed = async (index: number): Promise<Packed | undefined> => {
    try {
      return await packImage(await split.load(index), format)
    } catch (error) {
      broken.note(index, error)
      broken.check()
      return undefined
    }
  }
  const produce = async (part: number, stopped: AbortSignal) => {
    const images: (Packed | undefined)[] = Array.from({ length: Math.min(chunk, length - part * chunk) })
    await forEachConcurrently(images.length, decodingLanes, async (i) => {
      stopped.throwIfAborted()
      images[i] = await packed(part * chunk + i)
    })
    return images
  }
  let index = 0
  const parts = { first: 0, count: Math.ceil(length / chunk), ahead: 2, together: 1, signal, produce }
  for await (const { item } of prefetch(parts)) {
    for (const image of item) {
      if (image !== undefined) {
        columns.offsets[index] = await append(image.bytes)
        columns.lengths[index] = image.bytes.length
        columns.checksums[index] = crc32(image.bytes)
        columns.heights[index] = image.height
        columns.widths[index] = image.width
      }
      index += 1
    }
    onProgress(index)
  }
  if (broken.size === length) throw new AutoprogError('DATA', `None of the ${length} images can be read`)
  columns.labels.set(split.labels)
  const shown = standIns(split.labels, broken)
  return { half: { ...replace(columns, shown), nameOf: (i) => split.nameOf(shown[i]!) }, summary: broken.summary() }
}

/** Gives every image the entries of the one that is shown for it. */
function replace(columns: Columns, shown: Int32Array): Columns {
  return {
    offsets: columns.offsets.map((_, index) => columns.offsets[shown[index]!]!),
    lengths: columns.lengths.map((_, index) => columns.lengths[shown[index]!]!),
    checksums: columns.checksums.map((_, index) => columns.checksums[shown[index]!]!),
    labels: columns.labels.map((_, index) => columns.labels[shown[index]!]!),
    heights: columns.heights.map((_, index) => columns.heights[shown[index]!]!),
    widths: columns.widths.map((_, index) => columns.widths[shown[index]!]!),
  }
}

interface Packed {
  readonly bytes: Uint8Array
  readonly height: number
  readonly width: number
}

async function packImage(image: Image, { maxSize, quality, raw }: Format): Promise<Packed> {
  const { pixels, height, width, channels } = await shrink(image, maxSize)
  if (raw) return { bytes: pixels, height, width }
  const bytes = await sharp(pixels, { raw: { height, width, channels } })
    .toColourspace(channels === 1 ? 'b-w' : 'srgb')
    .jpeg({ quality, chromaSubsampling: '4:4:4' })
    .toBuffer()
  return { bytes, height, width }
}

async function shrink(image: Image, maxSize: number): Promise<Image> {
  const { height, width, channels } = image
  const scale = maxSize / Math.max(height, width)
  if (scale >= 1) return image
  const size = { height: Math.max(1, Math.round(height * scale)), width: Math.max(1, Math.round(width * scale)) }
  const pixels = new Uint8Array(size.height * size.width * channels)
  const plan = { op: 'resize', ...size, filter: 'bicubic', region: [0, 0, width, height] } as const
  await transformImages([image], channels, [[plan]], size, pixels)
  return { pixels, ...size, channels }
}

function checkRange(subject: string, value: number, most: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= most) return value
  throw new AutoprogError('CONFIG', expected(`an integer from 1 to ${most}`, subject, value))
}
