/** Label maps as a session takes them, checked before they go to the device. */
import { AutoprogError, expected } from '../errors.js'
import type { Values } from '../native.js'
import { regionSize } from '../ops/index.js'

export interface LabelMapOptions {
  /** The K best classes at each of h x w positions (B, K, h, w). */
  readonly classes: Int32Array
  /** Their probabilities, or logits (B, K, h, w). What probabilities leave of 1 belongs to all classes alike. */
  readonly scores: Float32Array
  /** [K, h, w] */
  readonly shape: readonly [best: number, height: number, width: number]
  /** (B, 5): left, top, right and bottom of the part of the picture that an image shows, as shares of its sides; 1 where mirrored. */
  readonly regions: Float32Array
  /** Whether scores are logits, of which those of all other classes are zero; false unless given. */
  readonly logits?: boolean
}

/** A region further out shows nothing of its picture. */
const furthest = 100

export function checkLabelMaps(maps: LabelMapOptions, batch: number, classCount: number): LabelMapOptions {
  if (typeof maps !== 'object' || maps === null)
    throw new AutoprogError('SHAPE', expected('{ classes, scores, shape: [K, h, w], regions }', 'labelMaps', maps))
  const { classes, scores, shape, regions } = maps
  const proper =
    Array.isArray(shape) && shape.length === 3 && shape.every((extent) => Number.isInteger(extent) && extent >= 1)
  if (!proper) throw new AutoprogError('SHAPE', expected('three positive integers', 'labelMaps.shape', shape))
  const size = batch * shape[0] * shape[1] * shape[2]
  if (!(classes instanceof Int32Array) || classes.length !== size)
    throw new AutoprogError('SHAPE', expected(`an Int32Array of length ${size}`, 'labelMaps.classes', classes))
  if (!(scores instanceof Float32Array) || scores.length !== size)
    throw new AutoprogError('SHAPE', expected(`a Float32Array of length ${size}`, 'labelMaps.scores', scores))
  if (!(regions instanceof Float32Array) || regions.length !== regionSize * batch)
    throw new AutoprogError(
      'SHAPE',
      expected(
        `a Float32Array of length ${regionSize * batch} (${batch}, ${regionSize})`,
        'labelMaps.regions',
        regions,
      ),
    )
  for (let i = 0; i < size; i++) {
    if (classes[i]! < 0 || classes[i]! >= classCount)
      throw new AutoprogError(
        'DATA',
        expected(`class indices from 0 to ${classCount - 1}`, 'labelMaps.classes', classes[i]),
      )
    if (!Number.isFinite(scores[i]))
      throw new AutoprogError('DATA', expected('finite numbers', 'labelMaps.scores', scores[i]))
  }
  const wrong = regions.find((value) => !(Math.abs(value) <= furthest))
  if (wrong !== undefined)
    throw new AutoprogError('DATA', expected("shares of a picture's sides", 'labelMaps.regions', wrong))
  return maps
}

export function labelMapValues({ classes, scores, regions }: LabelMapOptions): Values {
  return { mapClasses: classes, mapScores: scores, regions }
}
