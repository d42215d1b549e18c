/** Which images a step sees and how they are cropped: a function of (seed, step) alone, so a resumed run needs no state. */
import { draw, Purpose, toInteger } from '../random.js'
import { yieldToEventLoop } from './concurrent.js'

export interface Augment {
  /** Mirror half of the images. */
  readonly flip: boolean
  /** Zeros added on every side before cropping back to the image's size, in pixels. */
  readonly pad: number
}

/** What one step is made of, before any pixel is touched. */
export interface Sample {
  /** Which images, (B). */
  readonly indices: Int32Array
  /** dy and dx in [0, 2 pad], then flip (0 or 1), of every image: (B, 3). */
  readonly crops: Int32Array
}

export interface SamplerOptions {
  readonly length: number
  readonly batch: number
  readonly seed: number
  readonly shuffle: boolean
  /** Leave out the incomplete batch at an epoch's end. */
  readonly dropLast: boolean
  /** Has no effect where not shuffled, beyond the padding that the crops refer to. */
  readonly augment: Augment
  /** `order` for training and evaluation; `candidateBatches` draws another order and other crops. */
  readonly purpose: typeof Purpose.order | typeof Purpose.candidateBatches
}

export interface Sampler {
  readonly stepsPerEpoch: number
  at(step: number): Promise<Sample>
}

/** Step s belongs to epoch floor(s / stepsPerEpoch) and takes its share of that epoch's permutation. */
export function createSampler(options: SamplerOptions): Sampler {
  const { length, batch, seed, shuffle, dropLast, augment, purpose } = options
  const stepsPerEpoch = dropLast ? Math.floor(length / batch) : Math.ceil(length / batch)
  const orders = new Map<number, Promise<Int32Array>>()

  const orderOf = (epoch: number): Promise<Int32Array> => {
    const known = orders.get(epoch)
    if (known !== undefined) return known
    for (const old of orders.keys()) if (orders.size > 1) orders.delete(old)
    const order = shuffle ? slicedPermutation(length, seed, purpose, epoch) : Promise.resolve(identity(length))
    orders.set(epoch, order)
    return order
  }

  return {
    stepsPerEpoch,
    async at(step) {
      const epoch = Math.floor(step / stepsPerEpoch)
      const start = (step % stepsPerEpoch) * batch
      const indices = (await orderOf(epoch)).slice(start, start + batch)
      const crops = shuffle
        ? cropsOf(indices, seed, purpose, epoch, augment)
        : identityCrops(indices.length, augment.pad)
      return { indices, crops }
    },
  }
}

/** (B, 3): dy = dx = pad and no flip, which gives back the image as it is. */
function identityCrops(count: number, pad: number): Int32Array {
  return Int32Array.from({ length: count * 3 }, (_, i) => (i % 3 === 2 ? 0 : pad))
}

/** (B, 3): dy, dx, flip of every image. */
function cropsOf(
  indices: Int32Array,
  seed: number,
  purpose: SamplerOptions['purpose'],
  epoch: number,
  { flip, pad }: Augment,
): Int32Array {
  const crops = new Int32Array(indices.length * 3)
  indices.forEach((index, i) => {
    // The fixed batches draw their order at steps 0, 1, …, so their crops are drawn at steps beyond 2^32.
    const [dy, dx, mirrored] =
      purpose === Purpose.order
        ? draw(seed, Purpose.augmentation, epoch, index)
        : draw(seed, purpose, 2 ** 32 + epoch, index)
    crops[3 * i] = toInteger(dy, 2 * pad + 1)
    crops[3 * i + 1] = toInteger(dx, 2 * pad + 1)
    crops[3 * i + 2] = flip ? mirrored >>> 31 : 0
  })
  return crops
}

function identity(length: number): Int32Array {
  const order = new Int32Array(length)
  for (let i = 0; i < length; i++) order[i] = i
  return order
}

/** `permutation` of lib/random.ts, with a pause every two milliseconds or so: ImageNet's 1.28 million take 0.3 s in all. */
export async function slicedPermutation(n: number, seed: number, purpose: Purpose, step: number): Promise<Int32Array> {
  const order = identity(n)
  let words: readonly number[] = []
  for (let i = n - 1; i > 0; i--) {
    const drawn = n - 1 - i
    if (drawn % 4 === 0) words = draw(seed, purpose, step, drawn / 4)
    if (drawn % 8192 === 8191) await yieldToEventLoop()
    const j = toInteger(words[drawn % 4]!, i + 1)
    const swapped = order[i]!
    order[i] = order[j]!
    order[j] = swapped
  }
  return order
}
