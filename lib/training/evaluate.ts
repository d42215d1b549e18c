/** Held-out accuracy of a finished or interrupted run, from its last checkpoint. */
import { join } from 'node:path'
import { loadDataset } from '../../datasets/index.js'
import { AutoprogError, expected } from '../errors.js'
import { createModel } from '../models/registry.js'
import { openDevice } from '../native.js'
import type { WeightsName } from './batch.js'
import { loadCheckpoint } from './checkpoint.js'
import { loadConfig } from './config.js'
import type { Accuracy } from './held-out.js'
import { evaluateHeldOut } from './held-out.js'
import { evaluationOf, workersOf } from './preparation.js'
import { allLayers, createSession } from './session.js'

export type { Accuracy } from './held-out.js'

export interface EvaluateOptions {
  /** Another dataset than the run's. */
  data?: string
  /** Pixels; what the run evaluated at unless given. */
  resolution?: number
  signal?: AbortSignal
}

export interface EvaluateResult extends Accuracy {
  readonly emas: (Accuracy & { decay: number })[]
  readonly images: number
  readonly resolution: number
}

/**
 * Evaluates the weights and all moving averages of a run's last checkpoint. Throws CHECKPOINT where there is none, CONFIG
 * for a resolution that the model cannot take, DATA for a dataset with other classes.
 */
export async function evaluate(run: string, options: EvaluateOptions = {}): Promise<EvaluateResult> {
  const config = loadConfig({ file: join(run, 'config.yaml') })
  const { tensors, trainer } = await loadCheckpoint<{ blocks: readonly number[]; subnetwork: { resolution: number } }>(
    run,
  )
  const dataset = await loadDataset(options.data ?? config.data, {
    seed: config.seed,
    ...(options.signal && { signal: options.signal }),
  })
  const device = await openDevice(config.device, config)
  try {
    const model = createModel(config.model, { classes: dataset.classes.length, channels: dataset.channels })
    const classes = (tensors.get('weights/head.bias') ?? tensors.get('weights/fc.bias'))?.values.length
    if (classes !== model.classes)
      throw new AutoprogError(
        'DATA',
        expected(`${classes} classes, as ${run} was trained for,`, dataset.name, model.classes),
      )
    const session = await createSession({
      device,
      model: model.withBlocks(trainer.blocks),
      precision: config.precision,
      optimizer: { averages: config.ema.decays },
    })
    await session.restore(tensors)
    const resolution = options.resolution ?? config.evaluation.resolution ?? trainer.subnetwork.resolution
    const weights: WeightsName[] = ['model', ...config.ema.decays.map((_, index): WeightsName => `ema${index}`)]
    const [own, ...averaged] = await evaluateHeldOut(session, dataset.test, {
      batch: config.evaluation.batch,
      resolution,
      layers: allLayers(session.model),
      weights,
      evaluation: evaluationOf(config, dataset.test),
      workers: workersOf(config),
      signal: options.signal,
    })
    await session.close()
    const emas = averaged.map((accuracy, index) => ({ decay: config.ema.decays[index]!, ...accuracy }))
    return { ...own!, emas, images: dataset.test.length, resolution }
  } finally {
    await dataset.close()
    await device.close()
  }
}
