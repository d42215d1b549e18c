/**
 * Cosine decay with a linear warm-up before and a floor after it (Loshchilov and Hutter, 2017; timm's CosineLRScheduler).
 *
 * The trainer asks `learningRateOfStep` before every step. The schedule runs on over all stages; cooldown epochs need no
 * setting of their own, since the rate is the minimum wherever the cosine has ended.
 */
import { AutoprogError, expected } from '../errors.js'

export interface LearningRateSchedule {
  readonly peak: number
  /** Length of the cosine in epochs; the warm-up is not subtracted from it. */
  readonly epochs: number
  readonly minimum: number
  readonly warmupEpochs: number
  /** The rate at the start of the warm-up. */
  readonly warmupStart: number
}

/**
 * The rate at a point of the run, in epochs from its start: whole for a rate held through an epoch, else fractional.
 * Throws CONFIG for settings or a point that are no numbers of at least 0.
 */
export function learningRateAt(
  { peak, epochs, minimum, warmupEpochs, warmupStart }: LearningRateSchedule,
  epoch: number,
): number {
  for (const [name, value] of Object.entries({ peak, epochs, minimum, warmupEpochs, warmupStart, epoch }))
    if (!(value >= 0 && value < Infinity))
      throw new AutoprogError('CONFIG', expected('a number of at least 0', `${name} of the learning rate`, value))
  if (epoch < warmupEpochs) return warmupStart + ((peak - warmupStart) * epoch) / warmupEpochs
  if (epoch >= epochs) return minimum
  return minimum + 0.5 * (peak - minimum) * (1 + Math.cos((Math.PI * epoch) / epochs))
}

/** The rate of a step (from 0): of its own point of the run, or, `per` epoch, of the start of its epoch. */
export function learningRateOfStep(
  schedule: LearningRateSchedule,
  step: number,
  stepsPerEpoch: number,
  per: 'step' | 'epoch' = 'step',
): number {
  if (!Number.isSafeInteger(stepsPerEpoch) || stepsPerEpoch < 1)
    throw new AutoprogError(
      'CONFIG',
      expected('a positive integer', 'steps per epoch of the learning rate', stepsPerEpoch),
    )
  const epoch = step / stepsPerEpoch
  return learningRateAt(schedule, per === 'epoch' ? Math.floor(epoch) : epoch)
}
