/** A checkpoint as a model: for runs that have kept no best weights, and for any step that was saved. */
import { join } from 'node:path'
import { loadDataset } from '../../datasets/index.js'
import { AutoprogError } from '../errors.js'
import type { Model } from '../models/model.js'
import type { TrainedModel } from '../models/model-file.js'
import { createModel } from '../models/registry.js'
import { matchWeights } from '../models/weights.js'
import { type Config, loadConfig } from '../recipe/config.js'
import { hasSummary, readSummary } from '../report/run-folder.js'
import type { SessionState } from '../session/grow.js'
import { describeModel } from './best.js'
import { loadCheckpoint } from './checkpoint.js'
import { classesOfData } from './run-data.js'
import type { TrainerState } from './trainer-state.js'

export interface DescribedCheckpoint {
  readonly path: string
  readonly description: TrainedModel
  readonly model: Model
  readonly weights: ReadonlyMap<string, Float32Array>
  readonly notices: readonly string[]
}

/** The newest sound checkpoint of a run, or the one named: of its weights and averages the best of its last evaluation. Throws CHECKPOINT. */
export async function describeCheckpoint(run: string, file?: string): Promise<DescribedCheckpoint> {
  const config = loadConfig({ file: join(run, 'config.yaml') })
  const { path, tensors, trainer, data, notices } = await loadCheckpoint(run, undefined, file)
  const { step, subnetwork, blocks } = trainer
  const average = bestAverage(run, trainer)
  const arena = average === null ? 'weights' : `ema${config.ema.decays.indexOf(average)}`
  const count = classCount(path, tensors)
  const model = fittingModel(config, tensors, count, blocks)
  const weights = matchWeights(path, { tensors }, model, arena)
  const known = data?.classes ?? (await classesOfData(config, count)) ?? null
  // How its images were scaled follows from their sizes, as far as they are still there.
  const dataset = await loadDataset(config.data, { seed: config.seed, validation: config.validation }).catch(
    () => undefined,
  )
  await dataset?.close()
  const description = describeModel({
    ...{ config, model, classes: known, data: dataset?.name ?? config.data, average },
    ...{ resolution: config.evaluation.resolution ?? subnetwork.resolution },
    ...{ split: dataset?.validation ?? dataset?.test, step, epoch: trainer.lastEpoch?.epoch ?? 0 },
    evaluated: null,
  })
  const told = [
    ...notices,
    ...(file === undefined ? [`${run} has kept no best weights: those of its last checkpoint are used, ${path}`] : []),
    ...(known === null ? [`${run} has not kept the names of its classes: they are called by their numbers`] : []),
  ]
  return { path, description, model, weights, notices: told }
}

/** The decay of the average that did best at a step, where all were evaluated there; null for the weights themselves. */
function bestAverage(run: string, { step, lastEpoch }: TrainerState): number | null {
  const summary = hasSummary(run) ? readSummary(run) : undefined
  const atEnd = summary?.steps === step && summary.top1 !== null
  const epoch = lastEpoch?.step === step && lastEpoch.top1 !== null ? lastEpoch : undefined
  if (!atEnd && epoch === undefined) return null
  const all = atEnd
    ? [
        { average: null, top1: summary.top1! },
        { average: summary.bestEmaDecay, top1: summary.top1Ema ?? -1 },
      ]
    : [{ average: null, top1: epoch!.top1! }, ...epoch!.emas.map(({ decay, top1 }) => ({ average: decay, top1 }))]
  return all.reduce((a, b) => (b.top1 > a.top1 ? b : a)).average
}

/** How many classes the head of a checkpoint tells apart. Throws CHECKPOINT where it has none. */
export function classCount(path: string, tensors: SessionState): number {
  const bias = tensors.get('weights/head.bias') ?? tensors.get('weights/fc.bias')
  if (bias !== undefined) return bias.values.length
  throw new AutoprogError('CHECKPOINT', `${path} holds no classifier (head.bias or fc.bias)`, {
    hint: 'Give the folder of a run, with the checkpoints that it has written.',
  })
}

/** The recipe's network, grey or in colour as its first kernel is. */
function fittingModel({ model }: Config, tensors: SessionState, classes: number, blocks: readonly number[]): Model {
  const of = (channels: 1 | 3) => createModel(model, { classes, channels }).withBlocks(blocks)
  const fits = ({ parameters }: Model) =>
    parameters.every(({ name, shape }) => tensors.get(`weights/${name}`)?.shape.join() === shape.join())
  const grey = of(1)
  return fits(grey) ? grey : of(3)
}
