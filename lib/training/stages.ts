/** The stages of a run as the trainer walks through them: from plan and search to sub-networks, layers and growth. */
import { runningLayers } from '../growth/layer-map.js'
import type { GrownLayer } from '../growth/operators.js'
import { grow } from '../growth/operators.js'
import { adaptiveValue } from '../growth/regularization.js'
import type { Plan } from '../growth/schedules.js'
import { planStages, searchSteps } from '../growth/schedules.js'
import type { Subnetwork } from '../growth/space.js'
import { searchSpace } from '../growth/space.js'
import type { Model } from '../models/model.js'
import type { Config } from './config.js'

/** A stage of the run, in steps. */
export interface Stage {
  /** From 0. */
  readonly index: number
  readonly first: number
  readonly end: number
  /** Steps of its search phase; 0 where nothing is searched. */
  readonly searchSteps: number
  /** Networks that its search, or every step of a supernet, draws from; empty where one is trained from the start. */
  readonly candidates: readonly Subnetwork[]
  /** What is trained, or in a search the largest candidate. */
  readonly subnetwork: Subnetwork
  /** Depth of the smallest candidate: its layers run in all of them. */
  readonly smallest: number
}

export interface Stages {
  readonly count: number
  /** Steps of the whole run, the cooldown included. */
  readonly steps: number
  readonly epochs: number
  /** Stage `index`, given what the stage before it ended with. */
  stage(index: number, previous: Subnetwork | undefined): Stage
  /** Rate of stochastic depth in a phase of a stage; a search runs at the final stage's. */
  stochasticDepth(stage: Stage, searching: boolean): number
}

export function planRun(config: Config, model: Model, stepsPerEpoch: number): Stages {
  const { schedule, search, regularization, learningRate } = config
  const full = { depth: model.depth, resolution: model.imageSize, multiple: model.growthMultiple }
  const { kind, stages, ratio, lengths, subnetworks } = schedule
  const plan: Plan = planStages({ kind, full, epochs: config.epochs, stages, ratio, lengths, subnetworks })
  const epochs = config.epochs + learningRate.cooldownEpochs
  const count = plan.stages.length
  const steps = Math.round(epochs * stepsPerEpoch)
  return {
    count,
    steps,
    epochs,
    stage: (index, previous) => {
      const { start, subnetwork } = plan.stages[index]!
      const first = start * stepsPerEpoch
      const end = index + 1 < count ? plan.stages[index + 1]!.start * stepsPerEpoch : steps
      const candidates = subnetwork
        ? []
        : kind === 'supernet'
          ? searchSpace(plan.space, 1)
          : searchSpace(plan.space, index + 1, previous)
      const asked = {
        stageSteps: end - first,
        stepsPerEpoch,
        epochs: config.epochs,
        candidates: candidates.length,
        asked: search.epochs,
      }
      const largest = candidates.reduce<Subnetwork | undefined>(
        (best, each) => (best && size(best) >= size(each) ? best : each),
        undefined,
      )
      return {
        index,
        first,
        end,
        candidates,
        searchSteps: candidates.length === 0 ? 0 : kind === 'supernet' ? end - first : searchSteps(asked),
        subnetwork: subnetwork ?? largest!,
        smallest: Math.min(...(subnetwork ? [subnetwork] : candidates).map(({ depth }) => depth)),
      }
    },
    stochasticDepth: (stage, searching) => {
      const range = regularization.adaptive?.stochasticDepth
      if (!range) return regularization.stochasticDepth
      return adaptiveValue({ minimum: range[0], maximum: range[1] }, searching ? count - 1 : stage.index, count)
    },
  }
}

const size = ({ depth, resolution }: Subnetwork) => depth * resolution ** 2

/** The blocks that a candidate of the stage runs in the network held meanwhile. */
export function layersOf(stage: Stage, { depth }: Subnetwork): number[] {
  return runningLayers(stage.smallest, stage.subnetwork.depth, depth)
}

/** How the network held at the end of one stage becomes that of the next; undefined where its depth stays. */
export function growthTo(
  depth: number,
  held: number,
  operator: Config['schedule']['operator'],
): GrownLayer[] | undefined {
  if (depth === held) return undefined
  // A fixed schedule may shrink: then it keeps the layers that the smaller network would have run.
  if (depth < held) return runningLayers(depth, held, depth).map((source) => ({ source, added: false }))
  return grow(operator, held, depth)
}
