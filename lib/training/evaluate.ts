/** Held-out accuracy of a finished or interrupted run, from its last checkpoint. */
import { checkKind, checkOptions } from '../errors.js'
import type { WeightsName } from '../session/batch.js'
import { allLayers } from '../session/session.js'
import type { Accuracy } from './held-out.js'
import { evaluateHeldOut } from './held-out.js'
import { evaluationOf, workersOf } from './preparation.js'
import type { Trained } from './trained.js'
import { openTrained } from './trained.js'

export type { Accuracy } from './held-out.js'

export interface EvaluateOptions {
  /** Another dataset than the run's: its test half, or all of it where it has none. */
  data?: string
  /** Pixels; what the run evaluated at unless given. */
  resolution?: number
  signal?: AbortSignal
  /** Told after every batch how many images are evaluated. */
  onProgress?: (done: number, total: number) => void
}

export interface EvaluateResult extends Accuracy {
  readonly emas: (Accuracy & { decay: number })[]
  readonly images: number
  readonly resolution: number
  readonly notices: readonly string[]
}

/**
 * Evaluates the weights and all moving averages of a run's last checkpoint. Throws CHECKPOINT where there is none, CONFIG
 * for a resolution that the model cannot take, DATA for a dataset with other classes.
 */
export async function evaluate(run: string, options: EvaluateOptions = {}): Promise<EvaluateResult> {
  checkKind('path', 'the run', run)
  const kinds = { data: 'path', resolution: 'number', signal: 'signal', onProgress: 'function' } as const
  checkOptions('the options of an evaluation', options, kinds)
  const { data, signal } = options
  const trained = await openTrained(run, {
    ...(data !== undefined && { data, halves: 'all' }),
    ...(signal && { signal }),
  })
  const { config, dataset, session } = trained
  try {
    const resolution = options.resolution ?? trained.resolution
    const weights: WeightsName[] = ['model', ...config.ema.decays.map((_, index): WeightsName => `ema${index}`)]
    const [own, ...averaged] = await evaluateHeldOut(session, dataset.test, {
      batch: config.evaluation.batch,
      resolution,
      layers: allLayers(session.model),
      weights,
      evaluation: evaluationOf(config, dataset.test),
      workers: workersOf(config),
      signal,
      onProgress: options.onProgress,
    })
    const notices = [...trained.notices, ...(await heldOutNotices(run, trained))]
    const emas = averaged.map((accuracy, index) => ({ decay: config.ema.decays[index]!, ...accuracy }))
    return { ...own!, emas, images: dataset.test.length, resolution, notices }
  } finally {
    await trained.close()
  }
}

/** An accuracy is one of images that were not trained on; whether they are those is known of the run's own data alone. */
async function heldOutNotices(run: string, { own, began, dataset: { name, test } }: Trained): Promise<string[]> {
  if (!own) return []
  if (began === undefined)
    return [
      `${run} has not kept what it held out: it may have been trained on some of the images that are held out now`,
    ]
  const { images, fingerprint } = began.test
  const changed = `the held-out images of ${name} are no longer those of the run`
  if (images !== test.length) return [`${changed}, which were ${images}: ${test.length} now`]
  return fingerprint === (await test.fingerprint()) ? [] : [`${changed}: other names or sizes`]
}
