/** One image at a time, as an evaluation makes it of a picture. */
import type { Image } from '../source/dataset.js'
import { greyOf } from './convert.js'
import { decodeImage } from './decode.js'
import { jpegSize } from './jpeg.js'
import { inTurn } from './limits.js'
import { decodesJpegs, transformImages, transformJpeg } from './operations.js'
import { type Evaluation, evaluationPlan } from './transform.js'

export interface Evaluated {
  /** How an error names the image. */
  readonly name: string
  readonly channels: 1 | 3
  /** Side of the result, in pixels. */
  readonly size: number
  readonly evaluation: Evaluation
}

/** Pixels (size, size, channels) of an encoded image. Throws IMAGE, naming the image, where it is broken. */
export async function evaluateEncoded(bytes: Uint8Array, options: Evaluated): Promise<Uint8Array> {
  const { name, channels, size, evaluation } = options
  const side = { height: size, width: size }
  const picture = channels === 3 && decodesJpegs() ? jpegSize(bytes) : undefined
  if (picture !== undefined) {
    const target = new Uint8Array(size * size * channels)
    const plan = evaluationPlan(picture, size, evaluation)
    const settings = { exact: true, verify: true, ...side }
    const made = await inTurn(picture.width, picture.height, () =>
      transformJpeg(bytes, picture, plan, settings, target),
    )
    if (made !== undefined) return target
  }
  return evaluateDecoded(await decodeImage(bytes, { name, channels }), options)
}

/** The same of pixels; grey gives a colour network three channels alike, and colours give a grey one their luma. */
export async function evaluateDecoded(image: Image, { channels, size, evaluation }: Evaluated): Promise<Uint8Array> {
  const target = new Uint8Array(size * size * channels)
  const source = inChannels(image, channels)
  await transformImages(
    [source],
    channels,
    [evaluationPlan(source, size, evaluation)],
    { height: size, width: size },
    target,
  )
  return target
}

function inChannels(image: Image, channels: 1 | 3): Image {
  if (image.channels === channels) return image
  if (channels === 1) return { ...image, pixels: greyOf(image.pixels), channels }
  const pixels = new Uint8Array(3 * image.pixels.length)
  for (let i = 0; i < pixels.length; i++) pixels[i] = image.pixels[Math.floor(i / 3)]!
  return { ...image, pixels, channels }
}
