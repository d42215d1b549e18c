/** The best weights of a run so far, by the images that choose: kept as a model file, with what it is as a text beside it. */
import type { Evaluation } from '../data/image/transform.js'
import type { Split } from '../data/source/dataset.js'
import type { Model } from '../models/model.js'
import type { TrainedModel } from '../models/model-file.js'
import { writeModel } from '../models/model-file.js'
import { packageVersion } from '../package.js'
import type { Config } from '../recipe/config.js'
import type { EpochEvent } from '../report/events.js'
import { bestFile, modelFile, writeAtomically } from '../report/run-folder.js'
import type { WeightsName } from '../session/batch.js'
import { evaluationOf, isScaledOnDevice } from './preparation.js'
import type { Run } from './run.js'

/** Writes the weights of an epoch that are no worse than any before, if there are such. */
export async function keepBest(run: Run, event: EpochEvent): Promise<void> {
  const { state, session, config, options, dataset } = run
  const { top1, top5, testLoss: loss } = event
  if (top1 === null) return
  const all = [
    { average: null, top1, top5: top5!, loss },
    ...event.emas.map(({ decay, ...rest }) => ({ average: decay, ...rest })),
  ]
  // Of those that guess as many right the one with the lower loss.
  const best = all.reduce((a, b) => (b.top1 > a.top1 || (b.top1 === a.top1 && (b.loss ?? 0) < (a.loss ?? 0)) ? b : a))
  if (state.best !== undefined && best.top1 < state.best.top1) return
  const on = event.evaluatedOn!
  state.best = { epoch: event.epoch, average: best.average, top1: best.top1, on }
  if (options.out === undefined) return
  const { average, ...figures } = best
  const name: WeightsName = average === null ? 'model' : `ema${config.ema.decays.indexOf(average)}`
  const split = dataset.validation ?? dataset.test
  const description = describeModel({
    ...{ config, model: session.model, classes: dataset.classes, data: dataset.name, average },
    ...{ resolution: event.resolution, split, step: state.step, epoch: event.epoch },
    evaluated: { on, images: split.length, ...figures },
  })
  run.checkFolder()
  await writeModel(bestFile(options.out), session.model, await session.parameters(name), description)
  writeAtomically(modelFile(options.out), `${JSON.stringify(description, null, 2)}\n`)
}

export interface Described extends Pick<TrainedModel, 'average' | 'evaluated' | 'resolution'> {
  readonly config: Config
  readonly model: Model
  /** Null where nobody knows them. */
  readonly classes: readonly string[] | null
  readonly data: string
  /** Undefined where it is not at hand: then images are taken for photos. */
  readonly split: Pick<Split, 'uniform'> | undefined
  readonly step: number
  readonly epoch: number
}

/** What a file says of its model. */
export function describeModel(described: Described): TrainedModel {
  const { config, model, classes, data, average, evaluated, resolution, step, epoch } = described
  const split = described.split ?? { uniform: undefined }
  const { fraction, filter } = evaluationOf(config, split) satisfies Evaluation
  return {
    version: 1,
    name: model.name,
    network: config.model,
    blocks: [...model.blocks],
    classes: classes && [...classes],
    classCount: model.classes,
    channels: model.channels,
    mean: [...model.mean] as TrainedModel['mean'],
    deviation: [...model.deviation] as TrainedModel['deviation'],
    resolution,
    crop: fraction,
    interpolation: isScaledOnDevice(split, fraction) ? 'bilinear' : filter,
    precision: config.precision,
    average,
    evaluated,
    trained: { version: packageVersion(), date: new Date().toISOString(), data, seed: config.seed, step, epoch },
  }
}
