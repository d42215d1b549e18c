/** Operations on 8-bit images of the host, equal to Pillow's to the last bit, on libuv's threads. */
import { addon, native } from '../../native.js'

export type Filter = 'bilinear' | 'bicubic'

/** Positions and sizes in pixels of the image as it is when its turn comes; `fill` is the value of each channel outside. */
export type ImageOp =
  /** A box; what lies outside of the image is black. */
  | {
      readonly op: 'crop'
      readonly left: number
      readonly top: number
      readonly width: number
      readonly height: number
    }
  /** [left, top, right, bottom] of the image (all of it if not given), antialiased, to width x height. */
  | {
      readonly op: 'resize'
      readonly width: number
      readonly height: number
      readonly filter: Filter
      readonly region: readonly [number, number, number, number]
    }
  /** Left to right. */
  | { readonly op: 'flip' }
  /** Where output (x, y) comes from: (m0 x + m1 y + m2, m3 x + m4 y + m5). */
  | {
      readonly op: 'affine'
      readonly matrix: readonly [number, number, number, number, number, number]
      readonly filter: Filter
      readonly fill: readonly [number, number, number]
    }
  | { readonly op: 'autoContrast' | 'equalize' | 'invert' }
  /** How many bits stay. */
  | { readonly op: 'posterize'; readonly bits: number }
  /** Values from `threshold` on are inverted. */
  | { readonly op: 'solarize'; readonly threshold: number }
  /** Added to values below 128. */
  | { readonly op: 'solarizeAdd'; readonly addition: number }
  /** 0 is grey, flat, black, blurred; 1 the image as it is. */
  | { readonly op: 'color' | 'contrast' | 'brightness' | 'sharpness'; readonly factor: number }

/** Decoded pixels (height, width, channels). */
export interface ImageSource {
  readonly pixels: Uint8Array
  readonly height: number
  readonly width: number
}

/** In the order of native/image/plan.h. */
const kinds = [
  'crop',
  'resize',
  'flip',
  'affine',
  'autoContrast',
  'equalize',
  'invert',
  'posterize',
  'solarize',
  'solarizeAdd',
  'color',
  'contrast',
  'brightness',
  'sharpness',
] as const satisfies readonly ImageOp['op'][]

const filters: Record<Filter, number> = { bilinear: 0, bicubic: 1 }

function valuesOf(op: ImageOp): readonly number[] {
  switch (op.op) {
    case 'crop':
      return [op.left, op.top, op.width, op.height]
    case 'resize':
      return [op.width, op.height, filters[op.filter], ...op.region]
    case 'affine':
      return [...op.matrix, filters[op.filter], ...op.fill]
    case 'posterize':
      return [op.bits]
    case 'solarize':
      return [op.threshold]
    case 'solarizeAdd':
      return [op.addition]
    case 'color':
    case 'contrast':
    case 'brightness':
    case 'sharpness':
      return [op.factor]
    default:
      return []
  }
}

const numbersOf = (plan: readonly ImageOp[]) => plan.flatMap((op) => [kinds.indexOf(op.op), ...valuesOf(op)])

/** All plans in one array, for each array costs more than a call: height, width and count of numbers come before each. */
function encode(sources: readonly ImageSource[], plans: readonly (readonly ImageOp[])[]): Float64Array {
  const encoded = plans.flatMap((plan, i) => {
    const source: ImageSource | undefined = sources[i] // the addon refuses a plan without one
    const numbers = numbersOf(plan)
    return [source?.height ?? 0, source?.width ?? 0, numbers.length, ...numbers]
  })
  return new Float64Array(encoded)
}

/**
 * Carries out a plan for each source and writes the results, all of size.height x size.width, side by side to `target`
 * from byte `offset` on, once all are made; gives the seconds of work. The sources have been read when the call returns.
 * Throws SHAPE where a plan does not fit its source or its end.
 */
export function transformImages(
  sources: readonly ImageSource[],
  channels: 1 | 3,
  plans: readonly (readonly ImageOp[])[],
  size: { readonly height: number; readonly width: number },
  target: Uint8Array,
  offset = 0,
): Promise<number> {
  return native(() => {
    const pixels = sources.map((source: ImageSource | null) => source?.pixels)
    return addon().transformImages(pixels, channels, encode(sources, plans), size.height, size.width, target, offset)
  })
}

/** Whether this build can decode parts of JPEGs. */
export const decodesJpegs = () => addon().jpegDecoder() !== ''

/**
 * Carries out a plan for a JPEG, given by its bytes or by the name of its file, of `from` (height, width) in colour, decoding no more than the plan needs, and with `exact`
 * false at a half, a quarter or an eighth where the plan shrinks by more; the plan must begin with a `crop` and a `resize`,
 * or with a `resize`, for that. Gives the seconds of decoding and of the rest, or undefined where anything about the file
 * is unusual: then `decodeImage` has to judge. `verify` reads the file to its end for it, past what the plan needs.
 */
export function transformJpeg(
  source: Uint8Array | string,
  from: { readonly height: number; readonly width: number },
  plan: readonly ImageOp[],
  options: { readonly exact: boolean; readonly verify: boolean; readonly height: number; readonly width: number },
  target: Uint8Array,
  offset = 0,
): Promise<[number, number] | undefined> {
  const numbers = new Float64Array(numbersOf(plan))
  return native(() => addon().transformJpeg(source, from, numbers, options, target, offset))
}
