/** What tells one dataset from another, wherever it lies: a run keeps it, to notice other data when it is resumed. */
import { createHash, type Hash } from 'node:crypto'
import { forEachConcurrently, yieldToEventLoop } from '../concurrent.js'
import type { Dataset, Split } from './dataset.js'

/** JSON can hold it. */
export interface DataIdentity {
  /** In the order of their indices. */
  readonly classes: readonly string[]
  readonly train: SplitIdentity
  readonly validation?: SplitIdentity
  readonly test: SplitIdentity
}

export interface SplitIdentity {
  readonly images: number
  /** Equal where names below the dataset's root, labels, sizes and order of the images are; 32 hexadecimal digits. */
  readonly fingerprint: string
}

export async function identify({ classes, train, validation, test }: Dataset): Promise<DataIdentity> {
  const of = async (split: Split) => ({ images: split.length, fingerprint: await split.fingerprint() })
  return {
    ...{ classes, train: await of(train), test: await of(test) },
    ...(validation && { validation: await of(validation) }),
  }
}

/** Images of which the sizes count, spread evenly over a larger split: a million files then take about a second. */
const sized = 2 ** 15
const statLanes = 16
/** Bytes or images taken at a time between pauses for the event loop. */
const hashedBytes = 2 ** 24
const hashedNames = 2 ** 15

export interface ListedImages {
  /** Below the dataset's root. */
  readonly paths: readonly string[]
  readonly labels: Int32Array
  /** Bytes of the file of image `index`. */
  sizeOf(index: number): number | Promise<number>
}

/** Of images known by their names and sizes. Where a size cannot be had the image counts without. */
export async function listingFingerprint({ paths, labels, sizeOf }: ListedImages): Promise<string> {
  const { length } = paths
  const hash = createHash('sha256')
  for (let begin = 0; begin < length; begin += hashedNames) {
    const some = paths.slice(begin, begin + hashedNames)
    hash.update(JSON.stringify(some.map((path, i) => [path.normalize(), labels[begin + i]])))
    await yieldToEventLoop()
  }
  const count = Math.min(length, sized)
  const sizes = new Float64Array(count)
  await forEachConcurrently(count, statLanes, async (i) => {
    sizes[i] = await Promise.resolve(sizeOf(Math.floor((i * length) / count))).catch(() => -1)
  })
  return digestOf(hash.update(sizes))
}

/** Of values held in memory, or that stand for what they are checksums of. */
export async function contentFingerprint(...parts: readonly ArrayBufferView[]): Promise<string> {
  const hash = createHash('sha256')
  for (const { buffer, byteOffset, byteLength } of parts) {
    hash.update(`${byteLength} `)
    for (let begin = 0; begin < byteLength; begin += hashedBytes) {
      hash.update(new Uint8Array(buffer, byteOffset + begin, Math.min(hashedBytes, byteLength - begin)))
      await yieldToEventLoop()
    }
  }
  return digestOf(hash)
}

const digestOf = (hash: Hash): string => hash.digest('hex').slice(0, 32)
