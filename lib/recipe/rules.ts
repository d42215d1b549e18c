/** Values of a recipe that are each fine and cannot go together. */
import { AutoprogError, expected } from '../errors.js'
import type { Model } from '../models/model.js'
import { createModel } from '../models/registry.js'
import type { Config } from './schema.js'
import { peakRate, rangesOf, stageCount } from './values.js'

/** One thing wrong with a recipe; `hint` says what to write instead. */
export interface Problem {
  readonly path: readonly (string | number)[]
  readonly message: string
  readonly hint?: string
}

/** Every contradiction in a recipe; none is the rule. */
export function contradictions(config: Config): Problem[] {
  return rules.flatMap((rule) => rule(config))
}

/** Sizes that no network can have, and names that none has. */
function networkCanBeMade({ model }: Config): Problem[] {
  if (model === 'auto') return []
  try {
    createModel(model, { classes: 2 })
    return []
  } catch (error) {
    if (!(error instanceof AutoprogError)) throw error
    return [{ path: ['model'], message: error.message, ...(error.hint !== undefined && { hint: error.hint }) }]
  }
}

const rules: readonly ((config: Config) => Problem[])[] = [
  networkCanBeMade,
  fixedNeedsSubnetworks,
  fixedCountsItsSubnetworks,
  oneLengthPerStage,
  searchFitsItsStage,
  warmupFitsTheRun,
  ratesBelowThePeak,
  microBatchDividesBatch,
  rangesRise,
  magnitudeHasItsOperations,
  stochasticDepthHasItsBranches,
  tokenLabelsHaveTheirHead,
  mixedOneWay,
]

function refuse(wrong: boolean, path: string, message: string, hint: string): Problem[] {
  return wrong ? [{ path: path.split('.'), message, hint }] : []
}

function fixedNeedsSubnetworks({ schedule }: Config): Problem[] {
  return refuse(
    schedule.kind === 'fixed' && schedule.subnetworks === null,
    'schedule.kind',
    expected('a list of { l, n }', 'schedule.subnetworks of a fixed schedule', schedule.subnetworks),
    'set schedule.subnetworks, for example [{ l: 0.5, n: 0.6 }, { l: 1, n: 1 }]',
  )
}

function fixedCountsItsSubnetworks({ schedule }: Config): Problem[] {
  const { kind, subnetworks, stages } = schedule
  return refuse(
    kind === 'fixed' && subnetworks !== null && stages !== subnetworks.length,
    'schedule.stages',
    expected(`${subnetworks?.length}, the number of schedule.subnetworks,`, 'schedule.stages', stages),
    'leave schedule.stages out of a fixed schedule',
  )
}

function oneLengthPerStage({ schedule }: Config): Problem[] {
  const stages = stageCount(schedule)
  return refuse(
    schedule.lengths !== null && stages > 0 && schedule.lengths.length !== stages,
    'schedule.lengths',
    `Expected one length a stage, ${stages}, for schedule.lengths of ${schedule.kind} but received ${schedule.lengths?.length}`,
    'null divides the run by the scheme itself',
  )
}

function searchFitsItsStage({ epochs, schedule, search }: Config): Problem[] {
  const lengths = schedule.lengths ?? Array.from({ length: schedule.stages }, () => 1)
  const total = lengths.reduce((sum, length) => sum + length, 0)
  // The last stage trains the full network and searches nothing.
  const shortest = (epochs * Math.min(...lengths.slice(0, -1), total)) / total
  return refuse(
    schedule.kind === 'autoprog' && search.epochs !== 'auto' && search.epochs > shortest,
    'search.epochs',
    expected(
      `at most ${Number(shortest.toPrecision(4))}, the shortest stage that searches,`,
      'search.epochs',
      search.epochs,
    ),
    'search less, train longer, or use auto',
  )
}

function warmupFitsTheRun({ epochs, learningRate: { warmupEpochs } }: Config): Problem[] {
  return refuse(
    warmupEpochs > epochs,
    'learningRate.warmupEpochs',
    expected(`at most the epochs, ${epochs},`, 'learningRate.warmupEpochs', warmupEpochs),
    'lower learningRate.warmupEpochs, or raise epochs',
  )
}

function ratesBelowThePeak(config: Config): Problem[] {
  const { learningRate, batch, optimizer } = config
  if (batch === 'auto' && optimizer.referenceBatch !== null) return [] // it is checked once the batch is chosen
  const peak = peakRate({ ...config, batch: Number(batch) })
  return (['minimum', 'warmupStart'] as const).flatMap((key) =>
    refuse(
      learningRate[key] > peak,
      `learningRate.${key}`,
      expected(`at most the peak, ${peak},`, `learningRate.${key}`, learningRate[key]),
      'the peak is optimizer.learningRate, times batch / optimizer.referenceBatch where that is given',
    ),
  )
}

/** Images that are mixed with each other, i and B - 1 - i, travel in one micro-batch: hence even. */
function microBatchDividesBatch({ batch, microBatch }: Config): Problem[] {
  return refuse(
    microBatch !== 'auto' && (microBatch % 2 !== 0 || (batch !== 'auto' && batch % microBatch !== 0)),
    'microBatch',
    expected(
      batch === 'auto' ? 'an even integer' : `an even divisor of the batch, ${batch},`,
      'microBatch',
      microBatch,
    ),
    'auto takes what fits memory and runs fastest',
  )
}

function rangesRise({ augmentation, regularization }: Config): Problem[] {
  const { adaptive } = regularization
  const ranges = { ...(typeof adaptive === 'object' && adaptive) }
  const { scale, aspect } = augmentation
  const pairs = [
    ...Object.entries(ranges).map(([key, range]) => [`regularization.adaptive.${key}`, range] as const),
    ['augmentation.scale', scale] as const,
    ['augmentation.aspect', aspect] as const,
  ]
  return pairs.flatMap(([path, range]) =>
    refuse(
      range !== undefined && range[0] > range[1],
      path,
      expected('[min, max] in rising order', path, range),
      'the smaller number comes first',
    ),
  )
}

function magnitudeHasItsOperations({ augmentation, regularization: { adaptive } }: Config): Problem[] {
  return refuse(
    augmentation.randAugment === null && typeof adaptive === 'object' && adaptive?.magnitude !== undefined,
    'regularization.adaptive.magnitude',
    'regularization.adaptive.magnitude is that of RandAugment, and there is none',
    'set augmentation.randAugment, for example {}',
  )
}

function stochasticDepthHasItsBranches(config: Config): Problem[] {
  const { adaptive } = config.regularization
  const network = rangesOf(config).stochasticDepth.maximum > 0 ? networkOf(config.model) : undefined
  const adapted = typeof adaptive === 'string' || adaptive?.stochasticDepth !== undefined
  return refuse(
    network?.branches === 0,
    adapted ? 'regularization.adaptive' : 'regularization.stochasticDepth',
    `${network?.name} has no stochastic depth`,
    adapted
      ? 'name the others alone, for example { magnitude: [4.5, 9], erasing: [0, 0.25] }'
      : 'set regularization.stochasticDepth to 0',
  )
}

function tokenLabelsHaveTheirHead({ model, tokenLabels }: Config): Problem[] {
  const network = tokenLabels === null ? undefined : networkOf(model)
  return refuse(
    network !== undefined && network.tokenSize === undefined,
    'tokenLabels',
    `${network?.name} has no head for tokens, which tokenLabels needs`,
    'leave tokenLabels out, or train a VOLO, which has one',
  )
}

/** Undefined for a model that is settled later, or that cannot be made: others say so. */
export function networkOf(model: Config['model']): Model | undefined {
  try {
    return model === 'auto' ? undefined : createModel(model, { classes: 2 })
  } catch {
    return undefined
  }
}

function mixedOneWay({ tokenLabels, regularization: { mixup, cutmix } }: Config): Problem[] {
  return refuse(
    tokenLabels?.mixToken === true && (mixup > 0 || cutmix > 0),
    'tokenLabels.mixToken',
    'Images are mixed by MixToken, or by mixup and CutMix, but not by both',
    'set tokenLabels.mixToken to false, or regularization.mixup and regularization.cutmix to 0',
  )
}
