/** Which part of an image is taken: random resized crops for training, centre crops for evaluation, boxes to erase. */
import type { Draws } from './draws.js'

/** In pixels of the image. */
export interface Box {
  readonly left: number
  readonly top: number
  readonly width: number
  readonly height: number
}

export interface RandomCrop {
  /** Least and most area, as shares of the image's. */
  readonly scale: readonly [number, number]
  /** Least and most width over height. */
  readonly aspect: readonly [number, number]
}

/** Python's round: halves go to the even neighbour. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value)
  if (value - floor !== 0.5) return Math.round(value)
  return floor % 2 === 0 ? floor : floor + 1
}

const attempts = 10

/**
 * The crop of "Inception" training (Szegedy et al., 2015) as torchvision and timm draw it: an area uniform in `scale`, an
 * aspect log-uniform in `aspect`; where none of ten fits, the central crop of the nearest aspect.
 */
export function randomResizedCrop(width: number, height: number, { scale, aspect }: RandomCrop, draws: Draws): Box {
  const [low, high] = [Math.log(aspect[0]), Math.log(aspect[1])]
  for (let attempt = 0; attempt < attempts; attempt++) {
    const area = draws.between(...scale) * width * height
    const ratio = Math.exp(draws.between(low, high))
    const w = roundHalfEven(Math.sqrt(area * ratio))
    const h = roundHalfEven(Math.sqrt(area / ratio))
    if (w > 0 && h > 0 && w <= width && h <= height)
      return { left: draws.below(width - w + 1), top: draws.below(height - h + 1), width: w, height: h }
  }
  const ratio = width / height
  const w = ratio > aspect[1] ? Math.max(1, roundHalfEven(height * aspect[1])) : width
  const h = ratio < aspect[0] ? Math.max(1, roundHalfEven(width / aspect[0])) : height
  return { left: (width - w) >> 1, top: (height - h) >> 1, width: w, height: h }
}

/** An image scaled to `height` x `width`, of which the crop of `size` x `size` at `top`, `left` is taken. */
export interface CentreCrop {
  readonly width: number
  readonly height: number
  readonly top: number
  readonly left: number
}

/**
 * Evaluation as timm does it: the shorter side is scaled to size / fraction, the longer one in proportion (rounded down),
 * and the centre is cropped.
 */
export function centreCrop(width: number, height: number, size: number, fraction: number): CentreCrop {
  const shorter = Math.floor(size / fraction)
  const longer = Math.floor((shorter * Math.max(width, height)) / Math.min(width, height))
  const [w, h] = width <= height ? [shorter, longer] : [longer, shorter]
  return { width: w, height: h, top: roundHalfEven((h - size) / 2), left: roundHalfEven((w - size) / 2) }
}

const erasedArea = [0.02, 1 / 3] as const
const erasedAspect = [Math.log(0.3), Math.log(1 / 0.3)] as const

/**
 * The box that random erasing (Zhong et al., 2020) empties in an image of `size` x `size` pixels, as timm draws it: with
 * `probability` one of 2 to 33 % of the area; undefined where nothing is erased.
 */
export function erasedBox(size: number, probability: number, draws: Draws): Box | undefined {
  if (draws.unit() >= probability) return undefined
  for (let attempt = 0; attempt < attempts; attempt++) {
    const area = draws.between(...erasedArea) * size * size
    const ratio = Math.exp(draws.between(...erasedAspect))
    const height = roundHalfEven(Math.sqrt(area * ratio))
    const width = roundHalfEven(Math.sqrt(area / ratio))
    if (height >= size || width >= size || height === 0 || width === 0) continue
    return { top: draws.below(size - height + 1), left: draws.below(size - width + 1), width, height }
  }
  return undefined
}
