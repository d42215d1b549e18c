/** How much one image may cost. All limits lie far above any photo; what is beyond them is a mistake or an attack. */
import { integer } from '../../report/format.js'
import { createLanes } from '../concurrent.js'
import { type BrokenImage, brokenImage } from './fault.js'

/** Pixels of an image at most: where Pillow, too, takes a file for a decompression bomb. 512 MiB, decoded. */
export const pixelLimit = 178_956_970

/** Pixels of a side at most: what transformations can address. */
export const sideLimit = 2 ** 16

/** Bytes of an encoded image at most. */
export const fileLimit = 2 ** 28

/**
 * Scans of a progressive JPEG at most, each of which passes over the whole image: a small file can ask for minutes of that. Of the
 * largest images 48, where encoders write ten or so. native/image/jpeg.cpp has the same limit.
 */
export const scanLimit = (width: number, height: number): number =>
  Math.min(500, Math.floor(2 ** 33 / Math.max(1, width * height)))

/** Seconds that decoding one image may take. */
export const secondsLimit = 60

/** Images of more pixels than this (96 MiB, decoded) are decoded one after another, so that many do not fill the memory. */
const oneByOneAbove = 2 ** 25
const oneByOne = createLanes(1)

/** Does work on an image, waiting for its turn where that is large. */
export const inTurn = <T>(width: number, height: number, work: () => Promise<T>): Promise<T> =>
  width * height > oneByOneAbove ? oneByOne(work) : work()

export const isTooLarge = (width: number, height: number): boolean =>
  width * height > pixelLimit || width > sideLimit || height > sideLimit

/** Throws IMAGE where an image has too many pixels, in all or on a side. */
export function checkSize(name: string, width: number, height: number): void {
  if (!isTooLarge(width, height)) return
  const limit = width * height > pixelLimit ? `${integer(pixelLimit)} in all` : `${integer(sideLimit)} on a side`
  throw brokenImage(
    name,
    'large',
    `it has ${integer(width)} x ${integer(height)} pixels, and at most ${limit} are read`,
  )
}

/** The error of a file of more bytes than are read; undefined where it is not that large. */
export function tooManyBytes(name: string, bytes: number): BrokenImage | undefined {
  if (bytes <= fileLimit) return undefined
  const most = `at most ${integer(fileLimit / 2 ** 20)} MiB are read`
  return brokenImage(name, 'large', `it has ${integer(Math.ceil(bytes / 2 ** 20))} MiB, and ${most}`)
}
