/** A run under way: what it works with, its state, and what follows from both. */
import { existsSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { loadDataset } from '../../datasets/index.js'
import type { LabelMaps } from '../data/labels/token-labels.js'
import { classLabelMaps, openLabelMaps } from '../data/labels/token-labels.js'
import type { Batch, Loader } from '../data/loader.js'
import { createLoader } from '../data/loader.js'
import type { Dataset } from '../data/source/dataset.js'
import type { DataIdentity } from '../data/source/fingerprint.js'
import { identify } from '../data/source/fingerprint.js'
import { AutoprogError } from '../errors.js'
import { layersOf } from '../growth/schedules.js'
import type { Search, SearchState } from '../growth/search.js'
import { createSearch } from '../growth/search.js'
import type { Subnetwork } from '../growth/space.js'
import type { Model } from '../models/model.js'
import { createModel } from '../models/registry.js'
import { type Device, hostBytes } from '../native.js'
import type { Batched, Config } from '../recipe/config.js'
import { configToYaml } from '../recipe/config.js'
import { operatorOf } from '../recipe/values.js'
import { readSummary, writeAtomically } from '../report/run-folder.js'
import type { Session } from '../session/session.js'
import { allLayers, createSession } from '../session/session.js'
import { clearLeftovers, loadCheckpoint } from './checkpoint.js'
import type { MicroBatchTuner } from './micro-batch.js'
import { createTuner } from './micro-batch.js'
import { augmentationOf, enlargementOf, settle, settleMicroBatch, settleTimes, workersOf } from './preparation.js'
import { checkSameData, withAbsolutePaths } from './run-data.js'
import type { Stage, Stages } from './stages.js'
import { planRun } from './stages.js'
import { createTally } from './tally.js'
import type { TrainerState } from './trainer-state.js'

export interface TrainOptions {
  /** Run folder: config.yaml, data.json, events.jsonl, summary.json, checkpoints. Nothing is written without one. */
  out?: string
  /** Continues the run in `out` from its last checkpoint. */
  resume?: boolean
  /** Stops after the current step with a checkpoint; the iterable then throws the signal's reason. */
  signal?: AbortSignal
  /** Folder of a finished run of the original scheme, for the practical speed-up. */
  baseline?: string
  /** Told now and then how many files of the dataset are listed, … */
  onListing?: (files: number) => void
  /** … how many images decoded, where all are decoded ahead, … */
  onReading?: (done: number, total: number) => void
  /** … how many held-out images are evaluated, … */
  onEvaluating?: (done: number, total: number) => void
  /** … and how many images a search's candidates have seen to be compared. */
  onComparing?: (done: number, total: number) => void
}

export interface Run {
  readonly config: Batched
  readonly options: TrainOptions
  readonly dataset: Dataset
  readonly identity: DataIdentity
  readonly device: Device
  /** The full network. */
  readonly model: Model
  readonly loader: Loader
  /** Of the training images, for token labelling. */
  readonly labelMaps: LabelMaps | undefined
  readonly stages: Stages
  readonly session: Session
  readonly tuner: MicroBatchTuner
  readonly notices: string[]
  /** What was said of broken images that are held out. */
  readonly brokenHeldOut: Set<string>
  state: TrainerState
  stage: Stage
  search: Search | undefined
  lastCheckpoint: string | undefined
  /** The step of which a checkpoint holds all that there is. */
  savedAt: number | undefined
  /** The session holds what the steps so far have made: none has failed in the middle. */
  sound: boolean
  /** Throws CHECKPOINT where the run folder is no longer this run's. */
  readonly checkFolder: () => void
  /** The user was told what holds up the loader. */
  hinted: boolean
  /** When the last step was through, as `performance.now()` has it. */
  freeSince: number
  /** Since the first step was prepared, growth, searches, evaluations and checkpoints included; over all resumed parts. */
  readonly totalSeconds: () => number
}

export async function openRun(
  given: Config,
  options: TrainOptions,
  device: Device,
  checkFolder: () => void,
): Promise<Run> {
  const { signal, baseline, onListing, onReading } = options
  if (baseline !== undefined) readSummary(baseline) // a wrong folder is known before the first step, not after the last
  const recipe = withAbsolutePaths(given)
  const dataset = await loadDataset(recipe.data, {
    ...{ seed: given.seed, validation: given.validation },
    ...(signal && { signal }),
    ...(onListing && { onListing }),
    ...(onReading && { onProgress: onReading }),
  }).catch((error) => Promise.reject(options.resume && isMissing(recipe.data) ? maybeMoved(error) : error))
  let labelMaps: LabelMaps | undefined
  try {
    const chosen = settle(recipe, dataset, device)
    const model = createModel(chosen.config.model, { classes: dataset.classes.length, channels: dataset.channels })
    const { config, notices: settled } = settleMicroBatch(settleTimes(chosen.config), model, device)
    labelMaps = await labelMapsOf(config, dataset)
    const notices = [...chosen.notices, ...enlargementOf(dataset, model), ...settled, ...(labelMaps?.notices ?? [])]
    return await beginRun({ config, options, dataset, device, model, labelMaps, notices, checkFolder })
  } catch (error) {
    await labelMaps?.close()
    await dataset.close()
    throw error
  }
}

/** Whether it is a path, and nothing is there. */
const isMissing = (data: string): boolean => isAbsolute(data) && !existsSync(data)

function maybeMoved(error: Error): Error {
  const hint = 'if the data of the run were moved, name their place with --data'
  return error instanceof AutoprogError ? new AutoprogError(error.code, error.message, { hint, cause: error }) : error
}

type Opened = Pick<Run, 'config' | 'options' | 'dataset' | 'device' | 'model' | 'labelMaps' | 'notices' | 'checkFolder'>

/** From the start, or where a checkpoint has left off. */
async function beginRun(opened: Opened): Promise<Run> {
  const { config, options, dataset, device, model, labelMaps, notices } = opened
  const { out, resume } = options
  const loader = createLoader(dataset.train, {
    labelMaps,
    batch: config.batch,
    seed: config.seed,
    shuffle: true,
    augmentation: augmentationOf(config, dataset.train, model),
    repeats: config.augmentation.repeats,
    workers: workersOf(config),
    allocate: hostBytes(device),
    onBroken: (message) => notices.push(message),
  })
  const stages = planRun(config, model, loader.stepsPerEpoch)
  const restored = out !== undefined && resume ? await loadCheckpoint(out, config) : undefined
  notices.push(...(restored?.notices ?? []))
  const identity = await identify(dataset)
  if (restored?.data) checkSameData(restored.data, identity, dataset.name)
  const first = stages.stage(0, undefined)
  const state: TrainerState = restored?.trainer ?? {
    step: 0,
    stage: -1,
    searching: false,
    subnetwork: first.subnetwork,
    previous: undefined,
    blocks: first.subnetwork.blocks,
    grownAt: -1,
    search: undefined,
    tuner: {},
    tally: createTally(),
    epochDue: false,
    lastEpoch: undefined,
  }
  const { learningRate: _rate, referenceBatch: _batch, ...optimizer } = config.optimizer
  const session = await createSession({
    device,
    model: model.withBlocks(state.blocks),
    precision: config.precision,
    lossScale: config.lossScale,
    seed: config.seed,
    labelSmoothing: config.regularization.labelSmoothing,
    ...(config.tokenLabels && {
      classWeight: config.tokenLabels.classWeight,
      denseWeight: config.tokenLabels.denseWeight,
    }),
    optimizer: { ...optimizer, averages: config.ema.decays },
  })
  if (restored) await session.restore(restored.tensors)
  const stage = stages.stage(Math.max(0, state.stage), state.previous)
  const [begun, before] = [performance.now(), state.tally.totalSeconds]
  const run: Run = {
    ...opened,
    ...{ identity, loader, stages, session, state, stage, brokenHeldOut: new Set<string>() },
    tuner: createTuner(config.batch, config.microBatch, state.tuner),
    search: undefined,
    lastCheckpoint: restored?.path,
    savedAt: restored && state.step,
    sound: true,
    hinted: false,
    freeSince: 0,
    totalSeconds: () => before + (performance.now() - begun) / 1000,
  }
  if (state.searching) run.search = openSearch(run, state.search)
  if (out !== undefined) await settleFolder(out, run)
  return run
}

/** Clears a run folder of what a killed run has left, and writes what a new run is of. */
async function settleFolder(folder: string, { config, identity, options, checkFolder }: Run): Promise<void> {
  checkFolder()
  await clearLeftovers(folder)
  if (options.resume) return
  writeAtomically(join(folder, 'config.yaml'), configToYaml(config))
  writeAtomically(join(folder, 'data.json'), `${JSON.stringify(identity, null, 2)}\n`)
}

async function labelMapsOf({ tokenLabels }: Config, { train, classes }: Dataset): Promise<LabelMaps | undefined> {
  if (tokenLabels === null) return undefined
  return tokenLabels.maps === null ? classLabelMaps(train) : openLabelMaps(tokenLabels.maps, { split: train, classes })
}

export function openSearch({ stage, model, loader, config }: Run, restored: SearchState | undefined): Search {
  return createSearch(
    {
      candidates: stage.candidates,
      flops: stage.candidates.map(({ blocks, resolution }) => model.flops({ blocks, resolution })),
      firstStep: stage.first,
      steps: stage.searchSteps,
      stepsPerEpoch: loader.stepsPerEpoch,
      seed: config.seed,
      time: config.search.time,
    },
    restored,
  )
}

/** Depends on the step alone, so that the loader can prepare what it will need. */
export function subnetworkAt({ search, stage, state }: Run, step: number): Subnetwork {
  return search ? stage.candidates[search.candidateOf(step)]! : state.subnetwork
}

export const keyOf = ({ depth, resolution }: Subnetwork) => `${depth}@${resolution}`

export function layersAt(run: Run, subnetwork: Subnetwork): number[] {
  return run.state.searching
    ? layersOf(run.stage, subnetwork.blocks, operatorOf(run.config))
    : allLayers(run.session.model)
}

/** A loaded batch as a session takes it. */
export function inputsOf(run: Run, batch: Batch, subnetwork: Subnetwork) {
  return {
    images: {
      data: batch.images,
      shape: [batch.labels.length, batch.height, batch.width, batch.channels],
      ...(batch.crops && { crops: batch.crops }),
      pad: batch.pad,
    },
    targets: batch.labels,
    ...(batch.erase && { erase: batch.erase }),
    ...(run.labelMaps && { labelMaps: labelsOf(run.labelMaps, batch) }),
    layers: layersAt(run, subnetwork),
    resolution: subnetwork.resolution,
  }
}

const labelsOf = ({ shape, logits }: LabelMaps, { labelMaps, regions }: Batch) => ({
  ...labelMaps!,
  ...{ shape, logits, regions: regions! },
})
