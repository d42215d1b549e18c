/** Held-out accuracy of a finished or interrupted run, from its last checkpoint. */
import { AutoprogError, checkKind, checkOptions, expected } from '../errors.js'
import { collectGuesses, type Guesses } from '../evaluation/guesses.js'
import { type Metrics, metricsOf } from '../evaluation/metrics.js'
import type { WeightsName } from '../session/batch.js'
import { allLayers } from '../session/session.js'
import { writeEvaluationReport } from './evaluation-report.js'
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
  /** 'flip' shows each image its mirror image too, and takes the mean of both probabilities. */
  tta?: 'flip'
  /** A folder to write a page to, index.html: confusion, classes, the pictures that are mistaken. */
  report?: string
  signal?: AbortSignal
  /** Told after every batch how many images are evaluated. */
  onProgress?: (done: number, total: number) => void
}

export interface EvaluateResult extends Accuracy {
  readonly emas: (Accuracy & { decay: number })[]
  /** Where the best of the copies fails: the decay of that average, null for the weights themselves, and its figures. */
  readonly best: { readonly average: number | null } & Metrics
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
  const kinds = {
    data: 'path',
    resolution: 'number',
    tta: 'string',
    report: 'path',
    signal: 'signal',
    onProgress: 'function',
  } as const
  checkOptions('the options of an evaluation', options, kinds)
  const { data, signal, tta } = options
  if (tta !== undefined && tta !== 'flip') throw new AutoprogError('CONFIG', expected("'flip'", 'tta', tta))
  const trained = await openTrained(run, {
    ...(data !== undefined && { data, halves: 'all' }),
    ...(signal && { signal }),
  })
  const { config, dataset, session } = trained
  try {
    const resolution = options.resolution ?? trained.resolution
    const weights: WeightsName[] = ['model', ...trained.decays.map((_, index): WeightsName => `ema${index}`)]
    const { length } = dataset.test
    const broken: string[] = []
    const collectors = weights.map(() => collectGuesses(length, session.model.classes))
    const counted = await evaluateHeldOut(session, dataset.test, {
      batch: config.evaluation.batch,
      resolution,
      layers: allLayers(session.model),
      weights,
      evaluation: evaluationOf(config, dataset.test),
      workers: workersOf(config),
      flip: tta === 'flip',
      onProbabilities: (copy, probabilities, labels) => collectors[copy]!.add(probabilities, labels),
      signal,
      onProgress: options.onProgress,
      onBroken: (message) => broken.push(message),
    })
    const found = collectors.map((each) => each.result())
    const [own, ...averaged] = tta === undefined ? counted : found.map(accuracyOf)
    const notices = [...trained.notices, ...broken, ...(await heldOutNotices(run, trained))]
    const emas = averaged.map((accuracy, index) => ({ decay: trained.decays[index]!, ...accuracy }))
    const all = [{ average: null, top1: own!.top1 }, ...emas.map(({ decay, top1 }) => ({ average: decay, top1 }))]
    const best = all.reduce((a, b) => (b.top1 > a.top1 ? b : a))
    const guesses = found[all.indexOf(best)]!
    const figures = metricsOf(guesses, dataset.classes)
    if (options.report !== undefined) {
      const which = best.average === null ? 'weights' : `average of decay ${best.average}`
      const facts = { run, data: dataset.name, model: session.model.name, resolution, which, metrics: figures, notices }
      await writeEvaluationReport(options.report, facts, guesses, dataset.test)
    }
    return { ...own!, emas, best: { average: best.average, ...figures }, images: length, resolution, notices }
  } finally {
    await trained.close()
  }
}

function accuracyOf({ length, ranks, truthProbabilities }: Guesses): Accuracy {
  const within = (rank: number) => ranks.reduce((sum, each) => sum + Number(each < rank), 0) / length
  const loss = truthProbabilities.reduce((sum, each) => sum - Math.log(Math.max(each, Number.MIN_VALUE)), 0) / length
  return { top1: within(1), top5: within(5), loss }
}

/** An accuracy is one of images that were not trained on; whether they are those is known of the run's own data alone. */
async function heldOutNotices(
  run: string,
  { own, began, decays, dataset: { name, test } }: Trained,
): Promise<string[]> {
  if (!own || decays.length === 0) return []
  if (began === undefined)
    return [
      `${run} has not kept what it held out: it may have been trained on some of the images that are held out now`,
    ]
  const { images, fingerprint } = began.test
  const changed = `the held-out images of ${name} are no longer those of the run`
  if (images !== test.length) return [`${changed}, which were ${images}: ${test.length} now`]
  return fingerprint === (await test.fingerprint()) ? [] : [`${changed}: other names or sizes`]
}
