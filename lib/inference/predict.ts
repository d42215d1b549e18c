/** Many images asked about, one after another as far as their answers go. */

import { asBrokenImage, brokenImage, faultOf } from '../data/image/fault.js'
import type { AutoprogError } from '../errors.js'
import type { NamedImage } from './inputs.js'
import type { OpenedModel, Prediction } from './open-model.js'

export interface PredictedImage {
  readonly image: string
  /** The bytes that were read. */
  readonly bytes?: Uint8Array
  /** Empty where the image is broken. */
  readonly predictions: readonly Prediction[]
  /** Of a broken image. */
  readonly error?: AutoprogError
}

/** Predictions in the order of the images, so many of which are under way at a time. A broken image stops none of the others. */
export async function* predictAll(
  model: OpenedModel,
  images: readonly NamedImage[],
  { top, ahead }: { top: number; ahead: number },
): AsyncGenerator<PredictedImage> {
  const one = async ({ name, read }: NamedImage): Promise<PredictedImage> => {
    try {
      const bytes = await read()
      return { image: name, bytes, predictions: await model.classify(bytes, { top }) }
    } catch (error) {
      const { hint } = asBrokenImage(error)
      const { fault, reason } = faultOf(error)
      return { image: name, predictions: [], error: brokenImage(name, fault, reason, { ...(hint && { hint }) }) }
    }
  }
  const underWay: Promise<PredictedImage>[] = []
  let next = 0
  while (next < images.length || underWay.length > 0) {
    while (next < images.length && underWay.length < ahead) {
      const made = one(images[next++]!)
      made.catch(() => undefined) // it is awaited in its turn
      underWay.push(made)
    }
    yield await underWay.shift()!
  }
}
