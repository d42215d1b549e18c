/** What follows from a recipe alone, whatever its network and data. */
import type { GrowthOperator } from '../growth/operators.js'
import type { Range, Regularization } from '../growth/regularization.js'
import { adaptivePresets } from '../growth/regularization.js'
import type { Batched, Config, Schedule } from './schema.js'

/** Number of stages that a schedule runs through. */
export function stageCount(schedule: Schedule): number {
  if (schedule.kind === 'original' || schedule.kind === 'supernet') return 1
  if (schedule.kind === 'progstack') return 3
  return schedule.kind === 'fixed' ? (schedule.subnetworks?.length ?? 0) : schedule.stages
}

/**
 * The operator that a run grows by; the scheme's own where the recipe names none. Progressive stacking is named after its
 * operator: MoGrow alone takes its place, where it is asked for (table III).
 */
export function operatorOf({ schedule: { kind, operator } }: Config): GrowthOperator {
  if (kind === 'progstack') return operator === 'mogrow' ? 'mogrow' : 'stacking'
  return operator === 'auto' ? 'mogrow' : operator
}

/** The highest learning rate: the recipe's, scaled to its batch. */
export function peakRate({ batch, optimizer: { learningRate, referenceBatch } }: Batched): number {
  return referenceBatch === null ? learningRate : (learningRate * batch) / referenceBatch
}

/** Every strength's range over the stages: a single value where the recipe does not adapt it. */
export function rangesOf({ augmentation, regularization }: Config): Regularization<Range> {
  const { adaptive, erasing, stochasticDepth } = regularization
  if (typeof adaptive === 'string') return adaptivePresets[adaptive]
  const range = (given: readonly [number, number] | undefined, value: number): Range => {
    const [minimum, maximum] = given ?? [value, value]
    return { minimum, maximum }
  }
  return {
    magnitude: range(adaptive?.magnitude, augmentation.randAugment?.magnitude ?? 0),
    erasing: range(adaptive?.erasing, erasing),
    stochasticDepth: range(adaptive?.stochasticDepth, stochasticDepth),
  }
}
