/** What a path names that can be used: a model file, a run, or one of its checkpoints. */
import { existsSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { AutoprogError } from '../errors.js'
import type { Model } from '../models/model.js'
import { describedModel, describedWeights, readModel, type TrainedModel } from '../models/model-file.js'
import { bestFile } from '../report/run-folder.js'
import { describeCheckpoint } from '../training/describe-checkpoint.js'

export interface TrainedFile {
  /** The file that holds the weights. */
  readonly path: string
  readonly description: TrainedModel
  readonly model: Model
  readonly weights: ReadonlyMap<string, Float32Array>
  /** What a person should know of it. */
  readonly notices: readonly string[]
}

const ending = '.safetensors'

/**
 * Reads a model file, or of a run's folder its best weights; of a run that has kept none, and of a checkpoint, the weights
 * that did best in its last evaluation. Throws CHECKPOINT where there is no such thing, or it is damaged.
 */
export async function readTrained(path: string): Promise<TrainedFile> {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined) throw new AutoprogError('CHECKPOINT', `There is no model and no run ${path}`, { hint })
  if (!found.isDirectory()) {
    if (path.endsWith('.onnx')) {
      const message = `${path} is an ONNX file, which other programs run`
      throw new AutoprogError('CHECKPOINT', message, {
        hint: 'give the run or the model file that it was exported from',
      })
    }
    const file = await readModel(path)
    if (file.description !== undefined) return withWeights(path, file.description, file)
    // RUN/checkpoints/step-00001234.safetensors
    const run = dirname(dirname(path))
    if (file.file.metadata.trainer !== undefined && existsSync(join(run, 'config.yaml')))
      return describeCheckpoint(run, basename(path))
    throw new AutoprogError('CHECKPOINT', `${path} holds weights and does not say of which network`, {
      hint: 'autoprog writes model files that do, as best.safetensors in the folder of a run',
    })
  }
  const best = bestFile(path)
  if (existsSync(best)) {
    const file = await readModel(best)
    if (file.description !== undefined) return withWeights(best, file.description, file)
  }
  if (!existsSync(join(path, 'config.yaml'))) {
    const message = `${path} is a folder, and not that of a run: it holds no config.yaml`
    throw new AutoprogError('CHECKPOINT', message, { hint })
  }
  return describeCheckpoint(path)
}

const hint = `give the folder of a run, or a model file, which ends in ${ending}`

function withWeights(
  path: string,
  description: TrainedModel,
  file: Awaited<ReturnType<typeof readModel>>,
): TrainedFile {
  const model = describedModel(path, description)
  const unnamed = `${path} does not name its classes: they are called by their numbers`
  const notices = description.classes === null ? [unnamed] : []
  const weights = describedWeights(path, file, model)
  for (const [name, values] of weights)
    if (!values.every(Number.isFinite))
      throw new AutoprogError('CHECKPOINT', `${path} holds values in ${name} that are no numbers`, {
        hint: 'The file may be altered, or its training diverged.',
      })
  return { path, description, model, weights, notices }
}
