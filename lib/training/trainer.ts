import { availableParallelism } from 'node:os'
import { AutoprogError, checkOptions } from '../errors.js'
import { averagedLayers } from '../growth/operators.js'
import { layersOf } from '../growth/schedules.js'
import { type Device, hostRelease, openDevice } from '../native.js'
import type { Config } from '../recipe/config.js'
import { resolveConfig } from '../recipe/config.js'
import { operatorOf } from '../recipe/values.js'
import type { EpochEvent, StartEvent, StepEvent, TrainingEvent } from '../report/events.js'
import { checkPlace, hasCheckpoint, hasSummary, recordEvents } from '../report/run-folder.js'
import { lockRun } from '../report/run-lock.js'
import { keepBest } from './best.js'
import { saveCheckpoint } from './checkpoint.js'
import { bottleneck, workersOf } from './preparation.js'
import type { Run, TrainOptions } from './run.js'
import { keyOf, openRun, openSearch, subnetworkAt } from './run.js'
import { evaluateCandidates, evaluateOn, resolutionOf, testAtEnd } from './run-evaluation.js'
import { stageEvent, startEvent, summaryOf } from './run-events.js'
import { growthTo } from './stages.js'
import { addSeconds, closeEpoch, enterStage } from './tally.js'
import { rateAt, trainStep } from './train-step.js'

export type { TrainOptions } from './run.js'

/**
 * Trains a recipe. Every event is final when it is yielded; with `out` it is also on record. Throws CONFIG and DATA for
 * what cannot be trained, NUMERIC when the loss is no longer finite, CHECKPOINT when the run folder cannot be written,
 * holds another run, or has another writer. What fails between two steps loses none of them: a checkpoint is written first.
 */
export async function* train(config: Config, options: TrainOptions = {}): AsyncGenerator<TrainingEvent> {
  checkOptions('the options of a training', options, {
    ...{ out: 'path', resume: 'boolean', signal: 'signal', baseline: 'path' },
    ...{ onListing: 'function', onReading: 'function', onEvaluating: 'function', onComparing: 'function' },
  })
  const recipe = resolveConfig(config)
  yield* options.out === undefined ? trainingEvents(recipe, options) : recordedEvents(recipe, options, options.out)
}

async function* recordedEvents(config: Config, options: TrainOptions, out: string): AsyncGenerator<TrainingEvent> {
  if (!options.resume) checkPlace(out)
  const lock = lockRun(out)
  try {
    if (!options.resume && (hasCheckpoint(out) || hasSummary(out)))
      throw new AutoprogError('CHECKPOINT', `${out} holds a run already`, {
        hint: 'Resume it (resume: true), or choose another folder (out).',
      })
    yield* recordEvents(trainingEvents(config, options, lock.check), out)
  } finally {
    lock.release()
  }
}

async function* trainingEvents(
  config: Config,
  options: TrainOptions,
  checkFolder = () => {},
): AsyncGenerator<TrainingEvent> {
  const device = await openDevice(config.device, config)
  let run: Run | undefined
  try {
    run = await openRun(config, options, device, checkFolder)
    yield startEvent(run)
    if (run.state.stage >= 0) yield stageEvent(run)
    for (const message of [...run.dataset.notices, ...run.notices.splice(0)]) yield { type: 'notice', message }
    while (run.state.step < run.stages.steps || run.state.epochDue) yield* trainSegment(run)
    const tested = run.dataset.validation && (await testAtEnd(run))
    for (const message of run.notices.splice(0)) yield { type: 'notice', message }
    if (tested) yield tested
    checkFolder()
    yield { type: 'end', summary: summaryOf(run, tested) }
  } finally {
    await close(run, device)
  }
}

async function close(run: Run | undefined, device: Device): Promise<void> {
  await run?.session.close()
  await run?.labelMaps?.close()
  await run?.dataset.close()
  await device.close()
}

/** What `train` would begin with. */
export interface Preview {
  /** The recipe, with what it leaves open settled for its data and device. */
  readonly config: Config
  readonly start: StartEvent
  readonly notices: readonly string[]
}

/** Does all that `train` does before its first step, and stops: nothing is written. Throws what `train` throws. */
export async function preview(config: Config, options: Omit<TrainOptions, 'out' | 'resume'> = {}): Promise<Preview> {
  const recipe = resolveConfig(config)
  const device = await openDevice(recipe.device, recipe)
  let run: Run | undefined
  try {
    run = await openRun(recipe, options, device, () => {})
    return { config: run.config, start: startEvent(run), notices: [...run.dataset.notices, ...run.notices] }
  } finally {
    await close(run, device)
  }
}

/** Trains to the end of the current phase, entering the next stage or phase first where one is due. */
async function* trainSegment(run: Run): AsyncGenerator<TrainingEvent> {
  const { state, stages, options } = run
  if (state.epochDue) yield* endEpoch(run)
  if (state.step >= stages.steps) return
  if (state.stage < 0 || state.step >= run.stage.end) yield* enterNextStage(run)
  const { stage } = run
  const end = state.searching ? stage.first + stage.searchSteps : stage.end
  const batches = run.loader.batches({
    firstStep: state.step,
    steps: end - state.step,
    sizeOf: (step) => subnetworkAt(run, step).resolution,
    strengthOf: () => stages.regularization(stage, state.searching),
    ...(options.signal && { signal: options.signal }),
  })
  // While a GPU computes one step the next is checked and waits in the session's queue; nothing is measured, saved or evaluated before all are through.
  const ahead = run.device.kind === 'cpu' ? 0 : 1
  const underWay: Promise<StepEvent>[] = []
  const endsEpoch = (step: number) => (step + 1) % run.loader.stepsPerEpoch === 0 || step + 1 === stages.steps
  async function* finishOne(): AsyncGenerator<TrainingEvent> {
    const event = await underWay.shift()!.catch((error) => {
      // A step that was refused for want of memory has changed nothing; after any other failure nothing is known.
      run.sound &&= error instanceof AutoprogError && error.code === 'MEMORY'
      throw error
    })
    yield event
    for (const message of [...run.notices.splice(0), ...run.device.notices()]) yield { type: 'notice', message }
    state.step = event.step + 1
    state.epochDue = endsEpoch(event.step)
  }
  async function* finish(most: number): AsyncGenerator<TrainingEvent> {
    while (underWay.length > most) {
      yield* finishOne()
      if (state.epochDue) yield* endEpoch(run)
    }
  }
  let failure: { error: unknown } | undefined
  try {
    for await (const batch of batches) {
      if (run.search?.evaluatesBefore(batch.step)) {
        yield* finish(0)
        await evaluateCandidates(run)
      }
      const step = trainStep(run, batch).finally(() => hostRelease(batch.images))
      step.catch(() => undefined) // it is awaited in its turn
      underWay.push(step)
      // A trial of a micro-batch that does not fit is repeated with another before any other step is sent.
      const alone = endsEpoch(batch.step) || !run.tuner.settled(keyOf(subnetworkAt(run, batch.step)))
      yield* finish(alone || options.signal?.aborted ? 0 : ahead)
      if (options.signal?.aborted) break
    }
    yield* finish(0)
  } catch (error) {
    // The signal stops the loader and evaluations too; what they were for is done again after the resume.
    failure = { error: options.signal?.aborted ? options.signal.reason : error }
  }
  if (options.signal?.aborted) failure ??= { error: options.signal.reason }
  if (failure !== undefined) {
    while (run.sound && underWay.length > 0) yield* finishOne()
    yield* saveSteps(run)
    throw failure.error
  }
  if (state.searching && state.step === end && run.config.schedule.kind !== 'supernet') yield* endSearch(run)
}

/** A checkpoint of what a run has trained before something else than a step of it has failed, or a signal has stopped it. */
async function* saveSteps(run: Run): AsyncGenerator<TrainingEvent> {
  const { state, options, sound } = run
  if (options.out === undefined || state.step === 0 || !sound || state.step === run.savedAt) return
  try {
    yield await checkpoint(run)
  } catch (error) {
    if (options.signal?.aborted) throw error
    yield { type: 'notice', message: `what was trained could not be saved: ${(error as Error).message}` }
  }
}

async function* enterNextStage(run: Run): AsyncGenerator<TrainingEvent> {
  const { state, stages, session, config } = run
  const started = performance.now()
  state.previous = state.stage < 0 ? undefined : state.subnetwork
  state.stage++
  const stage = stages.stage(state.stage, state.previous)
  run.stage = stage
  state.subnetwork = stage.subnetwork
  const operator = operatorOf(config)
  const layers = growthTo(stage.subnetwork.blocks, session.model, operator)
  if (layers) {
    const { source, moments } = config.schedule
    await session.grow(layers, {
      blocks: stage.subnetwork.blocks,
      fromAverage: layers.length > session.model.depth ? averagedLayers(operator, source) : 'none',
      moments,
      occasion: state.stage,
    })
    state.grownAt = state.step
  }
  state.blocks = stage.subnetwork.blocks
  state.searching = stage.searchSteps > 0
  run.search = state.searching ? openSearch(run, undefined) : undefined
  enterStage(state.tally, stage.index + 1, stage.subnetwork)
  addSeconds(state.tally, (performance.now() - started) / 1000, false)
  yield stageEvent(run)
}

/** The winner inherits the supernet's weights: the layers that it does not run are dropped. */
async function* endSearch(run: Run): AsyncGenerator<TrainingEvent> {
  const { state, stage, session } = run
  const started = performance.now()
  const { candidates, exponent, chosen } = run.search!.decide()
  const winner = stage.candidates[chosen]!
  yield { type: 'search', stage: stage.index + 1, step: state.step, candidates: [...candidates], exponent, chosen }
  const layers = layersOf(stage, winner.blocks, operatorOf(run.config))
  if (layers.length < session.model.depth)
    await session.grow(
      layers.map((source) => ({ source, added: false })),
      { blocks: winner.blocks },
    )
  state.subnetwork = winner
  state.blocks = winner.blocks
  state.searching = false
  run.search = undefined
  run.savedAt = undefined
  state.tally.stages.at(-1)!.subnetwork = winner
  addSeconds(state.tally, (performance.now() - started) / 1000, true)
  if (state.step < stage.end) yield stageEvent(run)
}

async function* endEpoch(run: Run): AsyncGenerator<TrainingEvent> {
  const { state, loader, config, stages, dataset, options, stage } = run
  const epoch = Math.ceil(state.step / loader.stepsPerEpoch)
  const last = state.step === stages.steps
  const { every, averages } = config.evaluation
  const due = last || (every > 0 && epoch % every === 0)
  const decays = due && (last || averages === 'always') ? config.ema.decays : []
  // Before what may fail: broken images, a disk gone, memory.
  const saves = options.out !== undefined && (last || epoch % config.checkpoint.every === 0)
  if (saves && run.savedAt !== state.step) yield await checkpoint(run)
  const started = performance.now()
  const figures = due ? await evaluateOn(run, dataset.validation ?? dataset.test, decays) : undefined
  const event: EpochEvent = {
    type: 'epoch',
    epoch,
    step: state.step,
    stage: stage.index + 1,
    depth: state.subnetwork.depth,
    resolution: resolutionOf(run),
    ...(figures && { evaluatedOn: dataset.validation ? ('validation' as const) : ('test' as const) }),
    ...closeEpoch(state.tally),
    top1: figures?.top1 ?? null,
    top5: figures?.top5 ?? null,
    testLoss: figures?.loss ?? null,
    emas: figures?.emas ?? [],
    learningRate: rateAt(run, state.step - 1),
    evaluateSeconds: (performance.now() - started) / 1000,
  }
  await keepBest(run, event)
  state.lastEpoch = event
  state.epochDue = false
  run.savedAt = undefined
  for (const message of run.notices.splice(0)) yield { type: 'notice', message }
  yield event
  const hint = bottleneck(event, workersOf(config), availableParallelism())
  if (hint !== undefined && !run.hinted) yield { type: 'notice', message: hint }
  run.hinted ||= hint !== undefined
}

async function checkpoint(run: Run): Promise<TrainingEvent> {
  const { state, session, config, options, tuner, search } = run
  run.checkFolder()
  state.tuner = tuner.state()
  state.search = search?.state()
  state.tally.totalSeconds = run.totalSeconds()
  const about = { recipe: config, data: run.identity, keep: config.checkpoint.keep }
  run.lastCheckpoint = await saveCheckpoint(options.out!, state.step, await session.state(), state, about)
  run.savedAt = state.step
  return { type: 'checkpoint', path: run.lastCheckpoint, step: state.step }
}
