/** What a run says of itself: its start, its stages, its summary. */

import { operatorOf } from '../recipe/values.js'
import type { EpochEvent, StartEvent, Summary, TestEvent, TrainingEvent } from '../report/events.js'
import { readSummary } from '../report/run-folder.js'
import type { Run } from './run.js'
import { keyOf } from './run.js'
import { summarize } from './tally.js'

export function startEvent({ config, dataset, device, model, loader, stages, state }: Run): StartEvent {
  return {
    type: 'start',
    scheme: config.schedule.kind,
    operator: stages.count > 1 ? operatorOf(config) : null,
    model: model.name,
    data: dataset.name,
    device: device.name,
    threads: device.threads,
    parameters: model.parameterCount(),
    classes: dataset.classes.length,
    trainImages: dataset.train.length,
    ...(dataset.validation && { validationImages: dataset.validation.length }),
    testImages: dataset.test.length,
    epochs: stages.epochs,
    stepsPerEpoch: loader.stepsPerEpoch,
    batch: config.batch,
    flopsFull: model.flops(),
    precision: config.precision,
    resumedFrom: state.step > 0 ? state.step : null,
  }
}

export function stageEvent({ config, state, stage, stages, loader, tuner }: Run): TrainingEvent {
  // A search's winner trains on in the network that the search began with.
  const begins = state.searching || stage.searchSteps === 0
  const grewHere = begins && state.previous !== undefined && state.subnetwork.depth > state.previous.depth
  return {
    type: 'stage',
    stage: stage.index + 1,
    stages: stages.count,
    phase: state.searching ? 'search' : 'train',
    subnetwork: state.subnetwork,
    operator: grewHere ? operatorOf(config) : null,
    candidates: state.searching ? [...stage.candidates] : [],
    step: state.step,
    epoch: state.step / loader.stepsPerEpoch,
    microBatch: tuner.choose(keyOf(state.subnetwork)),
  }
}

/** `tested`: what the test images say, where the last epoch was evaluated on others. */
export function summaryOf(run: Run, tested: TestEvent | undefined): Summary {
  const { config, dataset, model, state, options, stages, totalSeconds } = run
  const { lastEpoch } = state
  const best = lastEpoch?.emas.reduce<EpochEvent['emas'][number] | undefined>(
    (top, ema) => (top && top.top1 >= ema.top1 ? top : ema),
    undefined,
  )
  const figures = tested ?? lastEpoch
  return summarize(state.tally, {
    scheme: config.schedule.kind,
    model: model.name,
    data: dataset.name,
    seed: config.seed,
    epochs: stages.epochs,
    batch: config.batch,
    top1: figures?.top1 ?? null,
    top1Ema: figures?.emas.find(({ decay }) => decay === best?.decay)?.top1 ?? null,
    bestEmaDecay: best?.decay ?? null,
    chosenBy: dataset.validation ? 'validation' : 'test',
    ...(state.best && { best: state.best }),
    totalSeconds: totalSeconds(),
    flopsFull: model.flops(),
    baselineSeconds: options.baseline === undefined ? null : readSummary(options.baseline).seconds,
  })
}
