/** How much one image may cost. All limits lie far above any photo; what is beyond them is a mistake or an attack. */
import { brokenImage } from './fault.js'

/** Pixels of an image at most: where Pillow, too, takes a file for a decompression bomb. 512 MiB, decoded. */
export const pixelLimit = 178_956_970

/** Pixels of a side at most: what transformations can address. */
export const sideLimit = 2 ** 16

const number = (value: number) => value.toLocaleString('en-US')

export const isTooLarge = (width: number, height: number): boolean =>
  width * height > pixelLimit || width > sideLimit || height > sideLimit

/** Throws IMAGE where an image has too many pixels, in all or on a side. */
export function checkSize(name: string, width: number, height: number): void {
  if (!isTooLarge(width, height)) return
  const limit = width * height > pixelLimit ? `${number(pixelLimit)} in all` : `${number(sideLimit)} on a side`
  throw brokenImage(name, 'large', `it has ${number(width)} x ${number(height)} pixels, and at most ${limit} are read`)
}
