/** Which images a step sees: a function of (seed, step) alone, so that a resumed run needs no state. */
import { draw, Purpose, toInteger } from '../random.js'
import { yieldToEventLoop } from './concurrent.js'

/** What one step is made of, before any pixel is touched. */
export interface Sample {
  /** Which images, (B). */
  readonly indices: Int32Array
  /** Where the images' draws lie, with the seed: the epoch, or a number beyond all epochs for the candidates' batches, … */
  readonly epoch: number
  /** … and a number for each image that no other of the epoch has, (B). */
  readonly samples: readonly number[]
}

export interface SamplerOptions {
  readonly length: number
  readonly batch: number
  readonly seed: number
  readonly shuffle: boolean
  /** Leave out the incomplete batch at an epoch's end. */
  readonly dropLast: boolean
  /** Times that an image comes in a row, each time with other draws; an epoch then sees a share of the images. */
  readonly repeats: number
  /** `order` for training and evaluation; `candidateBatches` draws another order and other crops. */
  readonly purpose: typeof Purpose.order | typeof Purpose.candidateBatches
}

export interface Sampler {
  readonly stepsPerEpoch: number
  at(step: number): Promise<Sample>
}

/**
 * Step s belongs to epoch floor(s / stepsPerEpoch) and takes its share of that epoch's permutation. With `repeats` that is
 * the repeated augmentation of Hoffer et al. (2020) as DeiT trains with it: as many steps, of fewer images.
 */
export function createSampler(options: SamplerOptions): Sampler {
  const { length, batch, seed, shuffle, dropLast, repeats, purpose } = options
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
      const order = await orderOf(epoch)
      const places = Array.from({ length: Math.min(batch, length - start) }, (_, i) => start + i)
      const indices = Int32Array.from(places, (place) => order[Math.floor(place / repeats)]!)
      const samples = places.map((place, i) => indices[i]! * repeats + (place % repeats))
      return { indices, samples, epoch: purpose === Purpose.order ? epoch : 2 ** 32 + epoch }
    },
  }
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
