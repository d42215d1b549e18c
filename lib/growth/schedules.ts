/**
 * The named schedules: when each stage begins, and what it trains or searches.
 *
 * The trainer plans once, and opens one stage after the other: `openStage(plan, k, winner)`, where `winner` is what stage
 * k - 1 ended with, since a search's candidates depend on it. Both depend on their arguments alone, so that a resumed run
 * opens the same stage again. While a stage searches, the network held is its largest candidate (`subnetwork`), each step
 * runs the layers `layersOf(stage, blocks, operator)`, and the winner then keeps those.
 */
import { AutoprogError, expected } from '../errors.js'
import type { BlockKinds } from '../models/model.js'
import type { Blocks } from './layer-map.js'
import { runningBlocks } from './layer-map.js'
import type { GrowthOperator } from './operators.js'
import { growBlocks, ownLayers } from './operators.js'
import type { FullNetwork, GrowthSpace, ResolutionChoice, Subnetwork } from './space.js'
import { growthSpace, nest, searchSpace, subnetworkOf } from './space.js'

export type ScheduleKind = 'original' | 'prog' | 'progstack' | 'autoprog' | 'supernet' | 'fixed'

export interface ScheduleOptions {
  readonly kind: ScheduleKind
  readonly full: FullNetwork
  /** Epochs that the stages divide among themselves. */
  readonly epochs: number
  /** Number of stages K of prog, autoprog and supernet. */
  readonly stages: number
  /** The initial ratio of both dimensions. */
  readonly ratio: number
  /** Relative lengths of the stages; equal unless given (progstack: 1:2:5). */
  readonly lengths?: readonly number[] | null
  /** The stages of a fixed schedule. */
  readonly subnetworks?: readonly { readonly l: number; readonly n: number }[] | null
  /** Optimizer steps in an epoch; 1 unless given: then a step is an epoch. */
  readonly stepsPerEpoch?: number
  /** Epochs added to the last stage, at the learning rate's minimum; 0 unless given. */
  readonly cooldownEpochs?: number
}

export interface PlannedStage {
  /** First epoch; fractional only where stages are shorter than epochs. */
  readonly start: number
  /** First step, and the step after the last. */
  readonly first: number
  readonly end: number
  /** What the stage trains; undefined where a search finds it (autoprog), or a random one runs in each step (supernet). */
  readonly subnetwork: Subnetwork | undefined
}

export interface Plan {
  readonly kind: ScheduleKind
  readonly kinds: BlockKinds
  readonly stages: readonly PlannedStage[]
  readonly space: GrowthSpace
  /** Without the cooldown. */
  readonly epochs: number
  readonly stepsPerEpoch: number
  /** Steps of the whole run, cooldown included. */
  readonly steps: number
}

/** A stage whose predecessor has ended. */
export interface OpenStage {
  /** From 0. */
  readonly index: number
  readonly first: number
  /** The step after the last. */
  readonly end: number
  /** Steps that draw a candidate each: 0 where nothing is searched, the whole stage where nothing else happens. */
  readonly searchSteps: number
  /** What those steps draw from; empty where the plan names the sub-network. */
  readonly candidates: readonly Subnetwork[]
  /** What is trained, or while candidates are drawn the largest of them: the network held. */
  readonly subnetwork: Subnetwork
  readonly kinds: BlockKinds
  /** Blocks of the smallest candidate: they run in all of them. */
  readonly smallest: Blocks
}

/**
 * Plans a run. Stages begin at whole epochs, floor(epochs * share so far), or at whole steps where an epoch is too long
 * for one of them (50 stages in 20 epochs). Throws CONFIG where a stage would be empty or a ratio is out of range.
 */
export function planStages(options: ScheduleOptions): Plan {
  const { kind, full, epochs, stages, ratio, stepsPerEpoch = 1, cooldownEpochs = 0 } = options
  for (const [name, value] of Object.entries({ epochs, stepsPerEpoch }))
    if (!Number.isSafeInteger(value) || value < 1)
      throw new AutoprogError('CONFIG', expected('a positive integer', name, value))
  if (!(cooldownEpochs >= 0 && cooldownEpochs < Infinity))
    throw new AutoprogError('CONFIG', expected('a number of at least 0', 'cooldownEpochs', cooldownEpochs))
  const space = growthSpace(full, kind === 'original' || kind === 'fixed' || kind === 'progstack' ? 1 : stages, ratio)
  const subnetworks = subnetworksOf(options, space)
  const lengths = options.lengths ?? (kind === 'progstack' ? [1, 2, 5] : subnetworks.map(() => 1))
  if (lengths.length !== subnetworks.length || lengths.some((length) => !(length > 0 && length < Infinity)))
    throw new AutoprogError('CONFIG', expected(`${subnetworks.length} positive lengths`, 'the stages', lengths), {
      hint: 'Lengths are shares, one a stage: 1, 1, 2 gives the last stage half of the run.',
    })
  const firsts = firstSteps(epochs, stepsPerEpoch, lengths)
  const steps = Math.round((epochs + cooldownEpochs) * stepsPerEpoch)
  return {
    ...{ kind, kinds: full.kinds, space, epochs, stepsPerEpoch, steps },
    stages: firsts.map((first, k) => ({
      start: first / stepsPerEpoch,
      first,
      end: firsts[k + 1] ?? steps,
      subnetwork: subnetworks[k],
    })),
  }
}

/** Where stages begin in a run of `total` epochs or steps. */
export function stageStarts(total: number, lengths: readonly number[]): number[] {
  const sum = lengths.reduce((before, length) => before + length, 0)
  let before = 0
  return lengths.map((length) => {
    // Shares such as 0.1 + 0.7 add up to a hair less than they mean.
    const start = Math.floor((total * before) / sum + 1e-9)
    before += length
    return start
  })
}

function firstSteps(epochs: number, stepsPerEpoch: number, lengths: readonly number[]): number[] {
  const emptyAt = (starts: readonly number[], total: number) =>
    starts.findIndex((start, k) => (starts[k + 1] ?? total) <= start)
  const starts = stageStarts(epochs, lengths)
  if (emptyAt(starts, epochs) < 0) return starts.map((start) => start * stepsPerEpoch)
  const total = epochs * stepsPerEpoch
  const firsts = stageStarts(total, lengths)
  const empty = emptyAt(firsts, total)
  if (empty < 0) return firsts
  const unit = stepsPerEpoch === 1 ? 'epoch' : 'step'
  throw new AutoprogError('CONFIG', `Stage ${empty + 1} of ${lengths.length} would have no ${unit} of the ${total}`, {
    hint: `Train for more epochs, or in fewer stages${unit === 'step' ? ', or with a smaller batch' : ''}.`,
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
      return nest(
        full,
        space.ratios.map((ratio) => subnetworkOf(full, ratio, ratio)),
      )
    case 'progstack':
      return nest(
        full,
        [0.25, 0.5, 1].map((l) => subnetworkOf(full, l, 1)),
      )
    case 'fixed':
      if (!subnetworks?.length)
        throw new AutoprogError(
          'CONFIG',
          expected('a list of { l, n }, one a stage', 'a fixed schedule', subnetworks),
          {
            hint: 'For example [{ l: 0.5, n: 0.6 }, { l: 1, n: 1 }].',
          },
        )
      return nest(
        full,
        subnetworks.map(({ l, n }) => subnetworkOf(full, l, n)),
      )
    case 'supernet':
      return [undefined]
    case 'autoprog':
      // The last stage trains the full network.
      return Array.from({ length: stages }, (_, k) => (k === stages - 1 ? whole : undefined))
  }
}

/**
 * Opens stage `index` (from 0). `previous` is what the stage before ended with: the winner of its search, or what it
 * trained; `searchEpochs` is the length of a search where the user gives one, `choice` as in `searchSpace`. A supernet draws from the first stage's
 * candidates in every step and never decides. Throws CONFIG where there is no such stage, or a search lacks `previous`.
 */
export function openStage(
  plan: Plan,
  index: number,
  previous?: Pick<Subnetwork, 'depth' | 'resolution'>,
  searchEpochs: number | 'auto' = 'auto',
  choice: ResolutionChoice = 'free',
): OpenStage {
  const planned = plan.stages[index]
  if (planned === undefined)
    throw new AutoprogError('CONFIG', expected(`a stage from 0 to ${plan.stages.length - 1}`, 'the plan', index))
  const { first, end } = planned
  const candidates = planned.subnetwork ? [] : searchSpace(plan.space, index + 1, previous, choice)
  const search = { stageSteps: end - first, stepsPerEpoch: plan.stepsPerEpoch, epochs: plan.epochs }
  return {
    ...{ index, first, end, candidates, kinds: plan.kinds },
    searchSteps:
      plan.kind === 'supernet'
        ? end - first
        : searchSteps({ ...search, candidates: candidates.length, asked: searchEpochs }),
    subnetwork: planned.subnetwork ?? candidates.at(-1)!,
    smallest: (planned.subnetwork ?? candidates[0]!).blocks,
  }
}

/**
 * Steps of a stage's search phase, never more than the stage's: `asked` epochs, or 2 epochs in runs of 100 or more, else
 * 8% of the stage but at least 20 steps a candidate. 0 where there is no choice.
 */
export function searchSteps(options: {
  stageSteps: number
  stepsPerEpoch: number
  epochs: number
  candidates: number
  asked: number | 'auto'
}): number {
  const { stageSteps, stepsPerEpoch, epochs, candidates, asked } = options
  if (asked !== 'auto' && !(asked > 0))
    throw new AutoprogError('CONFIG', expected('auto or a positive number of epochs', 'the search', asked))
  if (candidates < 2) return 0
  if (asked !== 'auto') return Math.min(stageSteps, Math.max(1, Math.round(asked * stepsPerEpoch)))
  const wanted = epochs >= 100 ? 2 * stepsPerEpoch : Math.max(Math.round(0.08 * stageSteps), 20 * candidates)
  return Math.min(stageSteps, wanted)
}

/**
 * The blocks that a candidate runs in the network held, ascending: those of the smallest candidate, and then new ones from
 * the deep end backwards. From the second stage on the smallest candidate is the network that `operator` has grown,
 * wherever that puts its layers.
 */
export function layersOf(
  { index, kinds, smallest, subnetwork }: Pick<OpenStage, 'index' | 'kinds' | 'smallest' | 'subnetwork'>,
  blocks: Blocks,
  operator: GrowthOperator = 'mogrow',
): number[] {
  const kept = index === 0 ? undefined : ownLayers(growBlocks(kinds, operator, smallest, subnetwork.blocks))
  return runningBlocks(kinds, smallest, subnetwork.blocks, blocks, kept)
}
