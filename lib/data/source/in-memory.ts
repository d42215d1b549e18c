/** A split whose images are all alike and held decoded in one array. */
import { AutoprogError, expected } from '../../errors.js'
import type { Split } from './dataset.js'
import { contentFingerprint } from './fingerprint.js'

export interface InMemoryImages {
  /** (length, height, width, channels) */
  readonly pixels: Uint8Array
  /** (length) */
  readonly labels: Int32Array
  readonly height: number
  readonly width: number
  readonly channels: 1 | 3
  nameOf(index: number): string
  /** As in a split; that of labels and pixels if not given. */
  fingerprint?(): Promise<string>
}

export function inMemorySplit(images: InMemoryImages): Split {
  const { pixels, labels, height, width, channels, nameOf } = images
  const { fingerprint = () => contentFingerprint(labels, Int32Array.of(height, width, channels), pixels) } = images
  const stride = height * width * channels
  const view = (index: number) => {
    checkIndex(index, labels.length)
    return pixels.subarray(index * stride, (index + 1) * stride)
  }
  return {
    length: labels.length,
    labels,
    uniform: { height, width },
    pixels: view,
    load: async (index) => ({ pixels: view(index), height, width, channels }),
    nameOf,
    fingerprint,
  }
}

/** Throws DATA unless `index` names one of `length` images. */
export function checkIndex(index: number, length: number): void {
  if (Number.isInteger(index) && index >= 0 && index < length) return
  throw new AutoprogError('DATA', expected(`an integer from 0 to ${length - 1}`, 'the index of an image', index))
}
