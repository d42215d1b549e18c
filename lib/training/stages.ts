/** The stages of a run as the trainer walks through them: from plan and search to sub-networks, layers and growth. */
import type { Blocks } from '../growth/layer-map.js'
import { runningBlocks, totalOf } from '../growth/layer-map.js'
import type { GrownLayer, GrowthOperator } from '../growth/operators.js'
import { growBlocks } from '../growth/operators.js'
import type { Regularization } from '../growth/regularization.js'
import { adaptiveValues } from '../growth/regularization.js'
import type { OpenStage } from '../growth/schedules.js'
import { openStage, planStages } from '../growth/schedules.js'
import type { Subnetwork } from '../growth/space.js'
import { fullNetworkOf } from '../growth/space.js'
import type { Model } from '../models/model.js'
import type { Config } from '../recipe/config.js'
import { rangesOf } from '../recipe/values.js'

/** A stage of the run, in steps. */
export type Stage = OpenStage

export interface Stages {
  readonly count: number
  /** Steps of the whole run, the cooldown included. */
  readonly steps: number
  readonly epochs: number
  /** Stage `index`, given what the stage before it ended with. */
  stage(index: number, previous: Subnetwork | undefined): Stage
  /** Strengths in a phase of a stage; a search runs at the final stage's. */
  regularization(stage: Stage, searching: boolean): Regularization<number>
}

export function planRun(config: Config, model: Model, stepsPerEpoch: number): Stages {
  const { schedule, search, learningRate } = config
  const ranges = rangesOf(config)
  const full = fullNetworkOf(model)
  const { kind, stages, ratio, lengths, subnetworks } = schedule
  const { cooldownEpochs } = learningRate
  const plan = planStages({
    ...{ kind, full, epochs: config.epochs, stages, ratio, lengths, subnetworks, stepsPerEpoch, cooldownEpochs },
  })
  const count = plan.stages.length
  return {
    count,
    steps: plan.steps,
    epochs: config.epochs + cooldownEpochs,
    stage: (index, previous) => openStage(plan, index, previous, search.epochs, search.resolution),
    regularization: (stage, searching) => adaptiveValues(ranges, stage.index, count, searching),
  }
}

/** How the network held at the end of one stage becomes that of the next; undefined where its depth stays. */
export function growthTo(
  blocks: Blocks,
  held: Pick<Model, 'kinds' | 'blocks' | 'depth'>,
  operator: GrowthOperator,
): GrownLayer[] | undefined {
  if (totalOf(blocks) === held.depth) return undefined
  // A fixed schedule may shrink: then it keeps the layers that the smaller network would have run.
  if (totalOf(blocks) < held.depth)
    return runningBlocks(held.kinds, blocks, held.blocks, blocks).map((source) => ({ source, added: false }))
  return growBlocks(held.kinds, operator, held.blocks, blocks)
}
