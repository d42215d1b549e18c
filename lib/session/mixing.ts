import type { Mix } from '../data/image/mix.js'
import { AutoprogError, expected } from '../errors.js'
import type { Model } from '../models/model.js'
import { mixSize } from '../ops/index.js'
import { tokenGrid } from './tokens.js'

export interface MixOptions {
  /** Mixup or CutMix of images i and B - 1 - i and of their targets, after erasing. */
  mix?: Mix
  /**
   * MixToken (Jiang et al., 2021): tokens inside of the box [top, left, bottom, right], on the grid of the token logits, come
   * from image B - 1 - i; class targets are mixed by their share, token targets stay those of their own images.
   */
  mixBox?: TokenBox | null
}

/** Only a network with a head for tokens mixes within. */
export function prepareMix({ mix, mixBox }: MixOptions, resolution: number, model: Model) {
  if (mixBox === undefined || mixBox === null)
    return mix === undefined
      ? { mix: 'none' as const, values: {} }
      : { mix: 'images' as const, values: { mix: mixValues(mix, resolution) } }
  if (mix !== undefined)
    throw new AutoprogError('CONFIG', 'Images are mixed by mix or by mixBox, not by both', { hint: 'Leave out one.' })
  const grid = tokenGrid('mixBox', model, resolution)
  const box = checkBox(mixBox, grid)
  const values = { mix: mixValues({ lambda: boxShare(box, grid) }, resolution), mixBox: Int32Array.from(box) }
  return { mix: 'tokens' as const, values }
}

/** What the device reads of a mix (6): blend, share, top, bottom, left, right; for images of `side` x `side` pixels. */
export function mixValues(mix: Mix, side: number): Float32Array {
  if (typeof mix !== 'object' || mix === null)
    throw new AutoprogError('CONFIG', expected('{ lambda } or { box }', 'mix', mix))
  const { lambda, box } = mix
  const values = new Float32Array(mixSize)
  if (box === undefined) {
    if (!(typeof lambda === 'number' && lambda >= 0 && lambda <= 1))
      throw new AutoprogError('CONFIG', expected('a number from 0 to 1', 'mix.lambda', lambda))
    values.set([lambda, lambda])
    return values
  }
  if (typeof box !== 'object' || box === null)
    throw new AutoprogError('CONFIG', expected('{ top, bottom, left, right }', 'mix.box', box))
  const { top, bottom, left, right } = box
  const edges = [top, bottom, left, right]
  if (!edges.every((edge) => Number.isInteger(edge) && edge >= 0 && edge <= side) || top > bottom || left > right)
    throw new AutoprogError(
      'CONFIG',
      expected(`whole pixels from 0 to ${side} with top <= bottom and left <= right`, 'mix.box', edges),
    )
  values.set([1, 1 - ((bottom - top) * (right - left)) / (side * side), ...edges])
  return values
}

/** Checks the boxes (B, 4: top, left, height, width) of images of `side` x `side` pixels. */
export function checkErase(erase: Int32Array, batch: number, side: number): void {
  if (!(erase instanceof Int32Array) || erase.length !== 4 * batch)
    throw new AutoprogError('SHAPE', expected(`an Int32Array of length ${4 * batch} (batch, 4)`, 'erase', erase))
  for (let image = 0; image < batch; image++) {
    const box = [...erase.subarray(4 * image, 4 * image + 4)]
    const [top, left, height, width] = box as [number, number, number, number]
    if (box.some((value) => value < 0) || top + height > side || left + width > side)
      throw new AutoprogError(
        'CONFIG',
        expected(`[top, left, height, width] within ${side} x ${side} pixels`, `erase of image ${image}`, box),
      )
  }
}

/** A box [top, left, bottom, right] of tokens on a grid; bottom and right lie outside. */
export type TokenBox = readonly [top: number, left: number, bottom: number, right: number]

/** Throws CONFIG unless the box lies on the grid. */
function checkBox(box: TokenBox, grid: number): TokenBox {
  const proper =
    Array.isArray(box) && box.length === 4 && box.every((edge) => Number.isInteger(edge) && edge >= 0 && edge <= grid)
  if (proper && box[0] <= box[2] && box[1] <= box[3]) return box
  throw new AutoprogError(
    'CONFIG',
    expected(`[top, left, bottom, right] from 0 to ${grid} with top <= bottom and left <= right`, 'mixBox', box),
  )
}

/** The share of a grid of tokens that the box leaves to their own images. */
function boxShare([top, left, bottom, right]: TokenBox, grid: number): number {
  return 1 - ((bottom - top) * (right - left)) / grid ** 2
}
