/** Cosine decay with a linear warm-up before and a floor after it (Loshchilov and Hutter, 2017; timm's CosineLRScheduler). */

export interface LearningRateSchedule {
  readonly peak: number
  /** Length of the cosine in epochs; the warm-up is not subtracted from it. */
  readonly epochs: number
  readonly minimum: number
  readonly warmupEpochs: number
  /** The rate at the start of the warm-up. */
  readonly warmupStart: number
}

/** The rate at a point of the run, in epochs from its start: whole for a rate held through an epoch, else fractional. */
export function learningRateAt(
  { peak, epochs, minimum, warmupEpochs, warmupStart }: LearningRateSchedule,
  epoch: number,
): number {
  if (epoch < warmupEpochs) return warmupStart + ((peak - warmupStart) * epoch) / warmupEpochs
  if (epoch >= epochs) return minimum
  return minimum + 0.5 * (peak - minimum) * (1 + Math.cos((Math.PI * epoch) / epochs))
}
