/** Encoded images (JPEG, PNG, WebP, …) to 8-bit pixels, off the event loop, through libvips. */
import sharp from 'sharp'
import type { Image } from '../source/dataset.js'
import { brokenImage } from './fault.js'
import { correctScanHeaders } from './jpeg.js'

// Images are decoded side by side, each on one thread, and none is asked for twice.
sharp.concurrency(1)
sharp.cache(false)

/** How many images are decoded side by side: enough to keep libuv's four threads busy while others are being read. */
export const decodingLanes = 8

/** Endings of files that are taken for images. */
export const imageEnding = /\.(jpe?g|png|webp|gif|tiff?|avif)$/i

/** Pixels of the largest image that is decoded: more is a mistake or an attack, and would not fit in memory several times. */
const pixelLimit = 0x3fff ** 2

// libvips keeps one text of what went wrong for all threads, and another image's end may wipe it before it is read.
const wiped = /Warning treated as error|Unknown error/
const tries = 4

export interface DecodeOptions {
  /** How an error names the image. */
  readonly name: string
  readonly channels: 1 | 3
}

/**
 * Decodes as PIL's `convert('RGB')` or `convert('L')` would: no rotation by EXIF, no colour profile, no alpha.
 * Throws IMAGE, naming the image, where it is truncated or damaged, no image at all, or above the pixel limit.
 */
export async function decodeImage(bytes: Uint8Array, options: DecodeOptions): Promise<Image> {
  if (bytes.length === 0) throw brokenImage(options.name, 'empty', 'it has zero bytes')
  try {
    return await decode(bytes, options)
  } catch (cause) {
    const corrected = correctScanHeaders(bytes)
    if (corrected !== undefined) return decodeImage(corrected, options)
    throw undecodable(options.name, await reasonOf(cause as Error, () => decode(bytes, options)))
  }
}

/** Why decoding fails; where the text of it was wiped, another try may tell. */
async function reasonOf(cause: Error, decodeAgain: () => Promise<unknown>): Promise<string> {
  let { message } = cause
  for (let left = tries; left > 0 && wiped.test(message); left--) {
    message = await decodeAgain().then(
      () => '',
      (again: Error) => again.message,
    )
  }
  return wiped.test(message) ? 'it is truncated or damaged' : message
}

/** libvips tells the kinds of failure apart by its message alone. */
function undecodable(name: string, message: string) {
  const is = (text: string) => message.includes(text)
  if (is('pixel limit'))
    return brokenImage(name, 'large', `it has more than ${pixelLimit.toLocaleString('en-US')} pixels`)
  if (is('unsupported image format')) return brokenImage(name, 'format', 'it is not an image of a known format')
  return brokenImage(name, 'damaged', message)
}

async function decode(bytes: Uint8Array, { channels }: DecodeOptions): Promise<Image> {
  const { data, info } = await sharp(bytes, { ignoreIcc: true, failOn: 'warning', limitInputPixels: pixelLimit })
    .removeAlpha()
    .toColourspace(channels === 1 ? 'b-w' : 'srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true })
  if (info.channels !== channels) throw new Error(`decoded to ${info.channels} channels instead of ${channels}`)
  return { pixels: data, height: info.height, width: info.width, channels }
}
