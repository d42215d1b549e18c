/** A look at every image of a dataset before training: what is broken, and of which sizes and classes the rest is. */

import { forEachConcurrently } from '../concurrent.js'
import { decodingLanes } from '../image/decode.js'
import { type Fault, faultOf } from '../image/fault.js'
import { mostBroken } from './broken.js'
import type { Dataset, Split } from './dataset.js'
import { fitsInMemory } from './encoded.js'

export interface CheckedImage {
  readonly name: string
  readonly width: number
  readonly height: number
}

export interface ClassCount {
  readonly name: string
  /** Images of each half, broken ones included; those kept for choosing are not among them. */
  readonly train: number
  readonly test: number
  readonly broken: number
}

/** Sizes of the images that can be decoded, by their number of pixels. */
export interface Sizes {
  readonly smallest: CheckedImage
  readonly median: CheckedImage
  readonly largest: CheckedImage
  readonly distinct: number
  /** Images of which one side is more than ten times the other. */
  readonly extreme: readonly CheckedImage[]
}

export interface Check {
  readonly images: number
  readonly classes: readonly ClassCount[]
  /** Broken images, and what could not be listed. */
  readonly broken: readonly Fault[]
  /** Whether so many images of a half are broken that training would refuse them. */
  readonly refused: boolean
  /** Undefined where no image can be decoded. */
  readonly sizes: Sizes | undefined
  /** The size that training finds all its images to have where it holds them in memory. */
  readonly uniform: Split['uniform']
}

export interface CheckOptions {
  readonly signal?: AbortSignal
  /** Told of every image. */
  readonly onProgress?: (done: number, total: number, broken: number) => void
}

const extremeAspect = 10

/** Decodes every image as training would, side by side, and throws on nothing that is wrong with one image. */
export async function checkDataset(dataset: Dataset, { signal, onProgress }: CheckOptions = {}): Promise<Check> {
  const { classes, channels, faults = [] } = dataset
  const validation = dataset.validation ? [dataset.validation] : []
  const images = [dataset.train, dataset.test, ...validation].reduce((sum, { length }) => sum + length, 0)
  let [done, wrong] = [0, faults.length]
  const seen = (isBroken: boolean) => {
    signal?.throwIfAborted()
    if (isBroken) wrong += 1
    onProgress?.(++done, images, wrong)
  }
  const train = await checkHalf(dataset.train, seen)
  const test = await checkHalf(dataset.test, seen)
  const halves = [train, test]
  for (const split of validation) halves.push(await checkHalf(split, seen))
  const counts = classes.map((name) => ({ name, train: 0, test: 0, broken: 0 }))
  for (const label of dataset.train.labels) counts[label]!.train += 1
  for (const label of dataset.test.labels) counts[label]!.test += 1
  for (const { broken, split } of halves) for (const index of broken.keys()) counts[split.labels[index]!]!.broken += 1
  const size = uniformSize(train)
  return {
    images,
    classes: counts,
    broken: [
      ...faults,
      ...halves.flatMap(({ broken }) => [...broken].sort(([a], [b]) => a - b).map(([, fault]) => fault)),
    ],
    refused: halves.some(({ broken, split }) => broken.size > mostBroken(split.length)),
    sizes: sizesOf(halves),
    uniform: size && fitsInMemory(train.split.length, { ...size, channels }) ? size : undefined,
  }
}

interface Half {
  readonly split: Split
  /** Of every image, (length); 0 where it is broken. */
  readonly widths: Uint32Array
  readonly heights: Uint32Array
  readonly broken: ReadonlyMap<number, Fault>
}

async function checkHalf(split: Split, seen: (isBroken: boolean) => void): Promise<Half> {
  const { length, uniform } = split
  const widths = new Uint32Array(length)
  const heights = new Uint32Array(length)
  const broken = new Map<number, Fault>()
  const note = (index: number, { width, height }: { width: number; height: number }) => {
    widths[index] = width
    heights[index] = height
  }
  if (uniform !== undefined) for (let index = 0; index < length; index++) note(index, uniform)
  await forEachConcurrently(uniform === undefined ? length : 0, decodingLanes, async (index) => {
    try {
      note(index, await split.load(index))
    } catch (error) {
      broken.set(index, { name: split.nameOf(index), ...faultOf(error) })
    }
    seen(broken.has(index))
  })
  return { split, widths, heights, broken }
}

function uniformSize({ split, widths, heights, broken }: Half): Split['uniform'] {
  const first = widths.findIndex((width) => width > 0)
  const [width, height] = [widths[first]!, heights[first]!]
  const alike = (_: number, index: number) =>
    broken.has(index) || (widths[index] === width && heights[index] === height)
  return first >= 0 && split.labels.every(alike) ? { height, width } : undefined
}

function sizesOf(halves: readonly Half[]): Sizes | undefined {
  const images = halves.flatMap(({ split, widths, heights, broken }) =>
    Array.from(widths, (width, index) => ({ split, index, width, height: heights[index]! })).filter(
      ({ index }) => !broken.has(index),
    ),
  )
  if (images.length === 0) return undefined
  images.sort((a, b) => a.width * a.height - b.width * b.height)
  const image = ({ split, index, width, height }: (typeof images)[number]) => ({
    name: split.nameOf(index),
    width,
    height,
  })
  return {
    smallest: image(images[0]!),
    median: image(images[images.length >> 1]!),
    largest: image(images.at(-1)!),
    distinct: new Set(images.map(({ width, height }) => width * 2 ** 26 + height)).size,
    extreme: images
      .filter(({ width, height }) => Math.max(width, height) > extremeAspect * Math.min(width, height))
      .map(image),
  }
}
