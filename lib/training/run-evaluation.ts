/** What a run evaluates: its candidates on training images, its weights and their averages on images held out. */

import type { Split } from '../data/source/dataset.js'
import { hostRelease } from '../native.js'
import type { TestEvent } from '../report/events.js'
import type { WeightsName } from '../session/batch.js'
import { evaluateHeldOut } from './held-out.js'
import { evaluationOf, workersOf } from './preparation.js'
import type { Run } from './run.js'
import { inputsOf, layersAt } from './run.js'
import { addScoring, addSeconds } from './tally.js'

/** Pixels. */
export const resolutionOf = ({ config, state }: Run) => config.evaluation.resolution ?? state.subnetwork.resolution

/** Accuracy of the weights and of some averages, given by their decays, which are the first of the recipe's. */
export async function evaluateOn(run: Run, split: Split, decays: readonly number[]) {
  const { session, config, state, options } = run
  const [model, ...emas] = await evaluateHeldOut(session, split, {
    batch: config.evaluation.batch,
    resolution: resolutionOf(run),
    layers: layersAt(run, state.subnetwork),
    weights: ['model', ...decays.map((_, index): WeightsName => `ema${index}`)],
    evaluation: evaluationOf(config, split),
    workers: workersOf(config),
    signal: options.signal,
    onProgress: options.onEvaluating,
    // Once a run: the same image is broken in each epoch.
    onBroken: (message) => {
      if (!run.brokenHeldOut.has(message)) run.notices.push(message)
      run.brokenHeldOut.add(message)
    },
  })
  return { ...model!, emas: emas.map((accuracy, index) => ({ decay: decays[index]!, ...accuracy })) }
}

export async function testAtEnd(run: Run): Promise<TestEvent> {
  const { test } = run.dataset
  const figures = await evaluateOn(run, test, run.config.ema.decays)
  return { type: 'test', images: test.length, resolution: resolutionOf(run), ...figures }
}

/** Losses of all candidates on a fixed list of training batches, with the fastest average's weights, in train mode. */
export async function evaluateCandidates(run: Run): Promise<void> {
  const { session, stage, config, loader, stages, state, options, model } = run
  const started = performance.now()
  const { decays } = config.ema
  const fastest: WeightsName = `ema${decays.indexOf(Math.min(...decays))}`
  const strengths = stages.regularization(stage, true)
  const losses: number[] = []
  const total = stage.candidates.length * config.search.batches * config.batch
  let seen = 0
  for (const candidate of stage.candidates) {
    let sum = 0
    const fixed = loader.fixedBatches(config.search.batches, {
      sizeOf: () => candidate.resolution,
      strengthOf: () => strengths,
      ...(options.signal && { signal: options.signal }),
    })
    for await (const batch of fixed) {
      const { loss } = await session.forward({
        ...inputsOf(run, batch, candidate),
        weights: fastest,
        mode: 'train',
        // Batch norm's statistics are then those that steps take.
        ...(model.batchNorm && { microBatch: Number(config.microBatch) }),
        stochasticDepth: strengths.stochasticDepth,
        step: batch.step,
      })
      hostRelease(batch.images)
      sum += loss!
      seen += batch.labels.length
      options.onComparing?.(seen, total)
    }
    losses.push(sum / config.search.batches)
  }
  run.search!.recordLosses(losses)
  const once = stage.candidates.reduce((sum, candidate) => sum + model.flops(candidate), 0)
  addScoring(state.tally, config.search.batches * once)
  addSeconds(state.tally, (performance.now() - started) / 1000, true)
}
