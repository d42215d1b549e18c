/** Encoded images (JPEG, PNG, WebP, …) to 8-bit pixels; libvips decodes them off the event loop. */
import sharp, { type Sharp } from 'sharp'
import { integer } from '../../report/format.js'
import type { Image } from '../source/dataset.js'
import { openBitmap } from './bitmap.js'
import { type Encoded, greyOf, rgbOfCmyk } from './convert.js'
import { brokenImage } from './fault.js'
import { conversionHint, formatOf, type ImageFormat, sizeInHeader } from './format.js'
import { rgbOfGif } from './gif.js'
import { frameHeader, scansOf } from './jpeg.js'
import { checkSize, inTurn, pixelLimit, scanLimit, secondsLimit, tooManyBytes } from './limits.js'
import { openPortableMap } from './portable-map.js'

// Images are decoded side by side, each on one thread, and none is asked for twice.
sharp.concurrency(1)
sharp.cache(false)

/** How many images are decoded side by side: enough to keep libuv's four threads busy while others are being read. */
export const decodingLanes = 8

export interface DecodeOptions {
  /** How an error names the image. */
  readonly name: string
  readonly channels: 1 | 3
}

/**
 * Decodes as Pillow's `convert('RGB')` or `convert('L')` would: no colour profile, alpha left out, the first frame or page, and
 * what is merely a warning accepted. As in Pillow, the orientation of a TIFF is part of it, while that in a photo's EXIF is not
 * applied. Two differences: 16 bits of grey are scaled to 8, where Pillow clips them; and AVIF's halved colours are not interpolated.
 * Throws IMAGE, naming the image, where it is truncated or damaged, of no format that is read, or beyond a limit.
 */
export async function decodeImage(bytes: Uint8Array, { name, channels }: DecodeOptions): Promise<Image> {
  if (bytes.length === 0) throw brokenImage(name, 'empty', 'it has zero bytes')
  const large = tooManyBytes(name, bytes.length)
  if (large !== undefined) throw large
  const format = formatOf(bytes)
  if (typeof format !== 'string') {
    const { other } = format
    if (other === undefined) throw brokenImage(name, 'format', 'it is not an image of a known format')
    throw brokenImage(name, 'format', `it is ${other}`, { hint: conversionHint })
  }
  const attempt = <T>(work: Promise<T>): Promise<T> =>
    work.catch((cause: Error) => Promise.reject(undecodable(name, cause, format === 'jpeg' && !isEnded(bytes))))
  const { width, height, decode } = await attempt(open(format, bytes))
  checkSize(name, width, height)
  const scans = scanLimit(width, height)
  if (format === 'jpeg' && scansOf(bytes, scans + 1) > scans) {
    const size = `${integer(width)} x ${integer(height)} pixels`
    throw brokenImage(name, 'large', `it has more than ${scans} scans, which are the most that are read of ${size}`)
  }
  const image = await attempt(inTurn(width, height, decode))
  checkSize(name, image.width, image.height)
  return channels === 3 ? image : { ...image, pixels: greyOf(image.pixels), channels }
}

/** What decoders say of a sound file of a kind that they were not built for. */
const notRead = /which is not read$|is not configured|bad labq format/

/** Whether a JPEG has its end, EOI, among its last bytes: some writers leave a few behind it. */
const isEnded = (bytes: Uint8Array) => Buffer.from(bytes.subarray(-64)).includes('\xff\xd9', 0, 'latin1')

function undecodable(name: string, cause: Error, isCut: boolean) {
  if (cause.message.startsWith('timeout'))
    return brokenImage(name, 'large', `decoding it takes longer than ${secondsLimit} seconds`)
  // What libvips says of this is lost, now and then, to an image that is decoded beside it.
  if (isCut) return brokenImage(name, 'damaged', 'premature end of JPEG image', { cause })
  // The rest of what libvips says may be about an image that is decoded beside this one.
  const first = cause.message.split('\n', 1)[0]!
  const isKnown = first !== '' && !first.includes('Unknown error')
  if (notRead.test(first)) return brokenImage(name, 'format', cause, { hint: conversionHint })
  return brokenImage(name, 'damaged', isKnown ? first : 'it is truncated or damaged', { cause })
}

async function open(format: ImageFormat, bytes: Uint8Array): Promise<Encoded> {
  if (format === 'bmp') return openBitmap(bytes)
  if (format === 'map') return openPortableMap(bytes)
  // Of JPEGs libjpeg warns of much that harms nothing, or little; Pillow, too, refuses those alone that end too early.
  const failOn = format === 'jpeg' ? 'truncated' : 'error'
  const settings = { ignoreIcc: true, failOn, limitInputPixels: pixelLimit, autoOrient: format === 'tiff' } as const
  const source = () => sharp(bytes, settings).timeout({ seconds: secondsLimit })
  const inHeader = sizeInHeader(format, bytes)
  // Here no pixel is decoded, and `checkSize` words better what is too large.
  const found =
    inHeader === undefined ? await sharp(bytes, { ...settings, limitInputPixels: false }).metadata() : undefined
  const { width, height } = inHeader ?? found!
  const isCmyk = found?.space === 'cmyk' || (format === 'jpeg' && frameHeader(bytes)?.components === 4)
  const decode = async (): Promise<Image> => {
    if (isCmyk) {
      const inks = await raw(source().pipelineColourspace('cmyk').removeAlpha().toColourspace('cmyk'), 4)
      return { ...inks, pixels: rgbOfCmyk(inks.pixels), channels: 3 }
    }
    if (format === 'gif') {
      const frame = await raw(source().ensureAlpha().toColourspace('srgb'), 4)
      return { ...frame, pixels: rgbOfGif(bytes, frame.pixels, frame.width), channels: 3 }
    }
    return { ...(await raw(source().removeAlpha().toColourspace('srgb'), 3)), channels: 3 }
  }
  return { width, height, decode }
}

async function raw(source: Sharp, channels: number): Promise<Pick<Image, 'pixels' | 'height' | 'width'>> {
  const { data, info } = await source.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true })
  if (info.channels !== channels) throw new Error(`decoded to ${info.channels} channels instead of ${channels}`)
  return { pixels: data, height: info.height, width: info.width }
}
