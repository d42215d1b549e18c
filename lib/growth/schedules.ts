/** The named schedules: when each stage begins, and what it trains. */
import { AutoprogError, expected } from '../errors.js'
import type { FullNetwork, GrowthSpace, Subnetwork } from './space.js'
import { growthSpace, subnetworkOf } from './space.js'

export type ScheduleKind = 'original' | 'prog' | 'progstack' | 'autoprog' | 'supernet' | 'fixed'

export interface ScheduleOptions {
  readonly kind: ScheduleKind
  readonly full: FullNetwork
  readonly epochs: number
  /** Number of stages K of prog, autoprog and supernet. */
  readonly stages: number
  /** The initial ratio of both dimensions. */
  readonly ratio: number
  /** Relative lengths of the stages; equal unless given (progstack: 1:2:5). */
  readonly lengths?: readonly number[] | null
  /** The stages of a fixed schedule. */
  readonly subnetworks?: readonly { readonly l: number; readonly n: number }[] | null
}

export interface PlannedStage {
  /** First epoch. */
  readonly start: number
  /** What the stage trains; undefined where a search finds it (autoprog), or a random one runs in each step (supernet). */
  readonly subnetwork: Subnetwork | undefined
}

export interface Plan {
  readonly stages: readonly PlannedStage[]
  readonly space: GrowthSpace
}

/** Plans a run. Stages begin at floor(epochs * share so far). Throws CONFIG where a stage would be empty. */
export function planStages(options: ScheduleOptions): Plan {
  const { kind, full, epochs, stages, ratio } = options
  const space = growthSpace(full, kind === 'original' || kind === 'fixed' || kind === 'progstack' ? 1 : stages, ratio)
  const subnetworks = subnetworksOf(options, space)
  const lengths = options.lengths ?? (kind === 'progstack' ? [1, 2, 5] : subnetworks.map(() => 1))
  if (lengths.length !== subnetworks.length || lengths.some((length) => !(length > 0)))
    throw new AutoprogError('CONFIG', expected(`${subnetworks.length} positive lengths`, 'the stages', lengths))
  const starts = stageStarts(epochs, lengths)
  const empty = starts.findIndex((start, k) => (starts[k + 1] ?? epochs) <= start)
  if (empty >= 0)
    throw new AutoprogError('CONFIG', `Stage ${empty + 1} of ${starts.length} would have no epoch of the ${epochs}`, {
      hint: 'Train for more epochs, or in fewer stages.',
    })
  return { space, stages: starts.map((start, k) => ({ start, subnetwork: subnetworks[k] })) }
}

/** First epoch of each stage. */
export function stageStarts(epochs: number, lengths: readonly number[]): number[] {
  const total = lengths.reduce((sum, length) => sum + length, 0)
  let before = 0
  return lengths.map((length) => {
    const start = Math.floor((epochs * before) / total)
    before += length
    return start
  })
}

function subnetworksOf(
  { kind, full, stages, subnetworks }: ScheduleOptions,
  space: GrowthSpace,
): (Subnetwork | undefined)[] {
  const whole = subnetworkOf(full, 1, 1)
  switch (kind) {
    case 'original':
      return [whole]
    case 'prog':
      return space.ratios.map((ratio) => subnetworkOf(full, ratio, ratio))
    case 'progstack':
      return [0.25, 0.5, 1].map((l) => subnetworkOf(full, l, 1))
    case 'fixed':
      if (!subnetworks?.length)
        throw new AutoprogError('CONFIG', expected('a list of { l, n }, one a stage', 'a fixed schedule', subnetworks))
      return subnetworks.map(({ l, n }) => subnetworkOf(full, l, n))
    case 'supernet':
      return [undefined]
    case 'autoprog':
      // The last stage trains the full network.
      return Array.from({ length: stages }, (_, k) => (k === stages - 1 ? whole : undefined))
  }
}

/** Steps of a stage's search phase: `epochs`, or 2 epochs in runs of 100 or more, else 8% of the stage. */
export function searchSteps(options: {
  stageSteps: number
  stepsPerEpoch: number
  epochs: number
  candidates: number
  asked: number | 'auto'
}): number {
  const { stageSteps, stepsPerEpoch, epochs, candidates, asked } = options
  if (asked !== 'auto') return Math.min(stageSteps, Math.max(1, Math.round(asked * stepsPerEpoch)))
  const wanted = epochs >= 100 ? 2 * stepsPerEpoch : Math.max(Math.round(0.08 * stageSteps), 20 * candidates)
  return Math.min(stageSteps, wanted)
}
