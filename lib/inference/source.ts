/** What a model may be asked about, and the pixels that it sees of it. */
import { type Evaluated, evaluateDecoded, evaluateEncoded } from '../data/image/evaluation.js'
import { readImageFile } from '../data/source/files.js'
import { AutoprogError, expected } from '../errors.js'

/** Decoded pixels, in rows, columns, channels; of four channels the last, alpha, is left out. */
export interface Pixels {
  readonly pixels: Uint8Array | Uint8ClampedArray
  readonly width: number
  readonly height: number
  readonly channels: 1 | 3 | 4
}

/** The path of an image file, the bytes of one, or pixels. */
export type ImageSource = string | Uint8Array | Pixels

/** Pixels (size, size, channels) as the model sees them. Throws IMAGE where the image is broken, SHAPE for what is none. */
export async function pixelsOf(
  source: ImageSource,
  options: Omit<Evaluated, 'name'>,
  name = nameOf(source),
): Promise<Uint8Array> {
  if (typeof source === 'string') return evaluateEncoded(await readImageFile(source), { ...options, name })
  if (source instanceof Uint8Array) return evaluateEncoded(source, { ...options, name })
  const { pixels, width, height, channels } = checkPixels(source)
  if (channels === 4)
    return evaluateDecoded({ pixels: withoutAlpha(pixels), width, height, channels: 3 }, { ...options, name })
  return evaluateDecoded({ pixels, width, height, channels }, { ...options, name })
}

const nameOf = (source: ImageSource) => (typeof source === 'string' ? source : 'that was given')

function checkPixels(source: Pixels): Pixels & { pixels: Uint8Array } {
  const { pixels, width, height, channels } = (source ?? {}) as Partial<Pixels>
  const sides = [width, height].every((side) => Number.isSafeInteger(side) && side! > 0 && side! < 2 ** 16)
  const bytes = pixels instanceof Uint8Array || pixels instanceof Uint8ClampedArray
  if (!bytes || !sides || ![1, 3, 4].includes(channels!))
    throw new AutoprogError(
      'SHAPE',
      expected('a path, the bytes of an image file, or { pixels, width, height, channels }', 'an image', source),
      { hint: 'pixels are bytes in rows, columns, channels, of which there are 1, 3 or 4' },
    )
  if (pixels.length !== width! * height! * channels!)
    throw new AutoprogError(
      'SHAPE',
      expected(`${width! * height! * channels!} bytes`, 'the pixels of an image', pixels),
    )
  const plain = new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.length)
  return { pixels: plain, width: width!, height: height!, channels: channels! }
}

function withoutAlpha(pixels: Uint8Array): Uint8Array {
  const colours = new Uint8Array((pixels.length / 4) * 3)
  for (let from = 0, to = 0; from < pixels.length; from += 4) {
    colours[to++] = pixels[from]!
    colours[to++] = pixels[from + 1]!
    colours[to++] = pixels[from + 2]!
  }
  return colours
}
