/** The network of a run as its last checkpoint holds it, opened on a dataset. */
import { existsSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { loadDataset } from '../../datasets/index.js'
import type { Dataset, LoadOptions } from '../data/source/dataset.js'
import type { DataIdentity } from '../data/source/fingerprint.js'
import { AutoprogError, expected } from '../errors.js'
import { describedModel, describedWeights, type ModelFile, readModel, type TrainedModel } from '../models/model-file.js'
import { createModel } from '../models/registry.js'
import { openDevice } from '../native.js'
import type { Config } from '../recipe/config.js'
import { loadConfig, resolveConfig } from '../recipe/config.js'
import type { SessionState } from '../session/grow.js'
import type { Session } from '../session/session.js'
import { createSession } from '../session/session.js'
import { loadCheckpoint } from './checkpoint.js'
import { classCount } from './describe-checkpoint.js'
import { classesOfData, labelledAs } from './run-data.js'

export interface Trained {
  readonly config: Config
  readonly dataset: Dataset
  readonly session: Session
  /** Pixels: what the run evaluated at. */
  readonly resolution: number
  /** Of the checkpoint, averages included. */
  readonly tensors: SessionState
  /** Of the averages that the session holds beside the weights. */
  readonly decays: readonly number[]
  /** Whether the dataset is the run's own, of which it held out what is to be tested. */
  readonly own: boolean
  /** Of the data that the run began with; unknown of early versions. */
  readonly began: DataIdentity | undefined
  /** Of the dataset, of its classes, and what was wrong with newer checkpoints. */
  readonly notices: readonly string[]
  close(): Promise<void>
}

export interface TrainedOptions extends Pick<LoadOptions, 'signal' | 'onListing' | 'onProgress' | 'halves'> {
  /** Another dataset than the run's. */
  readonly data?: string
}

const ending = '.safetensors'

/**
 * Opens a run's folder, one of its checkpoints, or a model file. Throws CHECKPOINT where there is none, DATA for a dataset
 * with other classes.
 */
export async function openTrained(path: string, options: TrainedOptions = {}): Promise<Trained> {
  const isFile = path.endsWith(ending) && statSync(path, { throwIfNoEntry: false })?.isFile()
  const described = isFile ? await readModel(path) : undefined
  return described?.description === undefined
    ? openRunOf(path, options)
    : openModelFile(path, { ...described, description: described.description }, options)
}

/** A model file, on the data of the run in whose folder it lies unless others are given. */
async function openModelFile(
  path: string,
  file: ModelFile & { description: TrainedModel },
  { data, ...load }: TrainedOptions,
): Promise<Trained> {
  const { description } = file
  const recipe = join(dirname(path), 'config.yaml')
  const run = existsSync(recipe) ? loadConfig({ file: recipe }) : undefined
  const place = data ?? run?.data
  if (place === undefined)
    throw new AutoprogError('DATA', `${path} lies outside of its run, so that nothing says where its data are`, {
      hint: 'name them with --data (data)',
    })
  const own = run !== undefined && (data === undefined || samePlace(data, run.data))
  const { crop, interpolation, resolution, precision, classes, classCount } = description
  const config = resolveConfig({
    ...{ data: place, model: description.network, precision, evaluation: { crop, resolution } },
    ...{ augmentation: { filter: interpolation }, seed: run?.seed ?? 0, validation: run?.validation ?? 0 },
  })
  const { seed, validation } = config
  const loaded = await loadDataset(place, { seed, validation, ...load, ...(own && { halves: 'held-out' as const }) })
  return closable(loaded, async (closing) => {
    const dataset = classes === null ? byPosition(loaded, path, classCount) : labelledAs(classes, loaded)
    const model = describedModel(path, description)
    const weights = describedWeights(path, file, model)
    const device = await openDevice()
    closing.push(device.close)
    const session = await createSession({ device, model, precision, weights, training: false })
    closing.push(session.close)
    const tensors: SessionState = new Map(
      model.parameters.map(({ name, shape }) => [`weights/${name}`, { shape, values: weights.get(name)! }]),
    )
    const opened = { config, dataset, session, resolution, tensors, decays: [], own, began: undefined }
    return { ...opened, notices: dataset.notices }
  })
}

async function openRunOf(path: string, { data, ...load }: TrainedOptions): Promise<Trained> {
  // RUN/checkpoints/step-00001234.safetensors
  const [run, file] = path.endsWith(ending) ? [dirname(dirname(path)), basename(path)] : [path, undefined]
  const recipe = join(run, 'config.yaml')
  if (!existsSync(recipe)) {
    const hint = 'give the folder that training has written, with its config.yaml and checkpoints'
    throw new AutoprogError('CHECKPOINT', `There is no run in ${run}`, { hint })
  }
  const config = loadConfig({ file: recipe })
  const { tensors, trainer, ...saved } = await loadCheckpoint(run, undefined, file)
  const count = classCount(saved.path, tensors)
  const classes = saved.data?.classes ?? (await classesOfData(config, count))
  // Of the run's own data only what was held out can be tested, by whatever path they are named.
  const own = data === undefined || samePlace(data, config.data)
  const loaded = await loadDataset(data ?? config.data, {
    ...{ seed: config.seed, validation: config.validation, ...load },
    ...(own && { halves: 'held-out' as const }),
  })
  return closable(loaded, async (closing) => {
    const dataset = classes === undefined ? byPosition(loaded, run, count) : labelledAs(classes, loaded)
    const device = await openDevice(config.device, config)
    closing.push(device.close)
    const model = createModel(config.model, { classes: count, channels: dataset.channels })
    const session = await createSession({
      device,
      model: model.withBlocks(trainer.blocks),
      precision: config.precision,
      optimizer: { averages: config.ema.decays },
    })
    closing.push(session.close)
    await session.restore(tensors)
    const resolution = config.evaluation.resolution ?? trainer.subnetwork.resolution
    const notices = [...saved.notices, ...dataset.notices]
    const { decays } = config.ema
    return { config, dataset, session, resolution, tensors, decays, own, began: saved.data, notices }
  })
}

/** What is opened on a dataset, to be closed with it; closed at once where that fails. */
async function closable(
  { close: closeData }: Dataset,
  open: (closing: (() => Promise<void>)[]) => Promise<Omit<Trained, 'close'>>,
): Promise<Trained> {
  const closing = [closeData]
  const close = async () => {
    for (const one of closing.splice(0).reverse()) await one()
  }
  try {
    return { ...(await open(closing)), close }
  } catch (error) {
    await close()
    throw error
  }
}

/** For a run that has not kept the names of its classes: they cannot be compared. */
function byPosition(dataset: Dataset, run: string, count: number): Dataset {
  if (dataset.classes.length !== count)
    throw new AutoprogError(
      'DATA',
      expected(`${count} classes, as ${run} was trained for,`, dataset.name, dataset.classes.length),
    )
  const notice = `${run} has not kept the names of its classes: those of ${dataset.name} are taken to be the same, in their order`
  return { ...dataset, notices: [...dataset.notices, notice] }
}

function samePlace(a: string, b: string): boolean {
  try {
    return realpathSync(a) === realpathSync(b)
  } catch {
    return a === b
  }
}
