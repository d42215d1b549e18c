/**
 * Which images are kept back, for testing or for choosing. Each image's class and name draw a number, and those below
 * the share are held out: what becomes of an image then depends on no other, so that images added later move none.
 */
import { crc32 } from '../../checksum.js'
import { draw, Purpose } from '../../random.js'

export interface NamedImages {
  /** Class index of every image. */
  readonly labels: Int32Array
  readonly classes: readonly string[]
  /** The same wherever the images lie. */
  nameOf(index: number): string
}

const hashOf = (text: string): number => crc32(Buffer.from(text.normalize()))

/**
 * 1 for each image that is held out, 0 for the others: about `share` of each class, and of every class with two images at least
 * one on either side. Where that has to be forced it is the image with the lowest number that is held out, or the one with the
 * highest that is not; only the latter may, once other images are there, become an image for testing after all.
 */
export function chooseHeldOut(
  { labels, classes, nameOf }: NamedImages,
  share: number,
  seed: number,
  purpose: Purpose = Purpose.split,
): Uint8Array {
  const held = new Uint8Array(labels.length)
  const classHashes = classes.map(hashOf)
  const found = classes.map(() => ({ images: 0, held: 0, lowest: 0, least: 1, highest: 0, most: -1 }))
  labels.forEach((label, index) => {
    const number = draw(seed, purpose, classHashes[label]!, hashOf(nameOf(index)))[0] / 2 ** 32
    const ofClass = found[label]!
    ofClass.images += 1
    if (number < share) {
      held[index] = 1
      ofClass.held += 1
    }
    if (number < ofClass.least) Object.assign(ofClass, { least: number, lowest: index })
    if (number > ofClass.most) Object.assign(ofClass, { most: number, highest: index })
  })
  for (const { images, held: count, lowest, highest } of found) {
    if (images > 0 && count === images) held[highest] = 0
    if (images > 1 && count === 0) held[lowest] = 1
  }
  return held
}
