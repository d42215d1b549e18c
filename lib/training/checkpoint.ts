import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { DataIdentity } from '../data/source/fingerprint.js'
import { AutoprogError } from '../errors.js'
import { makeFolder } from '../folder.js'
import { readTensors, writeTensors } from '../models/tensor-file.js'
import type { Config, ConfigInput } from '../recipe/config.js'
import { resolveConfig } from '../recipe/config.js'
import { recipeDifferences } from '../recipe/differences.js'
import { checkpointStep } from '../report/run-folder.js'
import type { SessionState } from '../session/grow.js'
import { withAbsolutePaths } from './run-data.js'
import type { TrainerState } from './trainer-state.js'
import { isDataIdentity, isTrainerState, withWork } from './trainer-state.js'

/** One file per checkpoint, `checkpoints/step-00001234.safetensors`: all tensors, and the trainer's state as metadata. */
export interface Checkpoint {
  readonly path: string
  readonly tensors: SessionState
  readonly trainer: TrainerState
  /** What the run was trained on; unknown of those that early versions have written. */
  readonly data: DataIdentity | undefined
  /** What was wrong with newer ones. */
  readonly notices: readonly string[]
}

/** Since version 2 a checkpoint carries a checksum. */
const version = '2'
const versions = ['1', version]
const fileOf = (step: number) => `step-${String(step).padStart(8, '0')}.safetensors`
const folderOf = (run: string) => join(run, 'checkpoints')

/** Of a recipe what must not change between a run and its resume: the machine's part may, and data are compared by themselves. */
function whatCounts(recipe: Config): object {
  const { device, threads, workers, checkpoint, data, ...rest } = withAbsolutePaths(recipe)
  return rest
}

/** Writes a checkpoint atomically, then removes all but the newest `about.keep`. Returns its path. Throws CHECKPOINT. */
export async function saveCheckpoint(
  run: string,
  step: number,
  tensors: SessionState,
  trainer: TrainerState,
  about: { readonly recipe: Config; readonly data: DataIdentity; readonly keep: number },
): Promise<string> {
  const folder = folderOf(run)
  try {
    makeFolder(folder)
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    throw new AutoprogError('CHECKPOINT', `Cannot make the folder ${folder}: ${code ?? message}`, {
      hint: 'Choose an output folder that can be written.',
      cause,
    })
  }
  const path = join(folder, fileOf(step))
  await writeTensors(path, tensors, {
    version,
    recipe: JSON.stringify(about.recipe),
    data: JSON.stringify(about.data),
    trainer: JSON.stringify(trainer),
  })
  for (const old of (await list(run)).slice(0, -about.keep)) await rm(join(folder, old), { force: true })
  return path
}

/** Removes the temporary files of a process that was killed while it wrote to a run folder, which has no writer else. */
export async function clearLeftovers(run: string): Promise<void> {
  const partial = /^((step-\d+|best)\.safetensors\.\d+|model\.json|config\.yaml|data\.json|summary\.json)\.tmp$/
  for (const folder of [run, folderOf(run)])
    for (const file of await readdir(folder).catch(() => []))
      if (partial.test(file)) await rm(join(folder, file), { force: true })
}

/**
 * The newest sound checkpoint of a run, or the one named. Throws CHECKPOINT where there is none, each is damaged, or it is of
 * another recipe.
 */
export async function loadCheckpoint(run: string, recipe?: Config, file?: string): Promise<Checkpoint> {
  const candidates = file === undefined ? (await list(run)).reverse() : [file]
  const damages: AutoprogError[] = []
  for (const candidate of candidates) {
    const path = join(folderOf(run), candidate)
    const read = await readCheckpoint(path).catch((error: unknown) => {
      if (!(error instanceof AutoprogError && error.code === 'CHECKPOINT')) throw error
      damages.push(error)
    })
    if (read === undefined) continue
    const differences =
      recipe && read.recipe ? recipeDifferences(whatCounts(resolveConfig(read.recipe)), whatCounts(recipe)) : []
    if (differences.length > 0)
      throw new AutoprogError('CHECKPOINT', `${path} was written under another recipe (${differences.join('; ')})`, {
        hint: 'Resume with the recipe in config.yaml of the run folder, or start a new run in another folder.',
      })
    const notices = damages.map(({ message }) => `${message}; an older checkpoint is used instead, ${path}`)
    return { path, tensors: read.tensors, trainer: read.trainer, data: read.data, notices }
  }
  throw (
    damages[0] ??
    new AutoprogError('CHECKPOINT', `There is no checkpoint in ${folderOf(run)}`, {
      hint: 'Give the folder of a run that has written one. A training that has none yet is started anew, without --resume.',
    })
  )
}

async function readCheckpoint(
  path: string,
): Promise<Omit<Checkpoint, 'path' | 'notices'> & { recipe: ConfigInput | undefined }> {
  const { tensors, metadata, checked } = await readTensors(path)
  const known = metadata.version !== undefined && versions.includes(metadata.version)
  if (!known || metadata.trainer === undefined || (metadata.version === version && !checked))
    throw new AutoprogError('CHECKPOINT', `${path} is not a checkpoint of this version of autoprog`, {
      hint: 'It may hold weights alone: load those with session.load.',
    })
  const said = <T>(key: string, is: (value: unknown) => value is T, early = (value: unknown) => value): T => {
    const value = early(parsed(metadata[key]!))
    if (is(value)) return value
    const hint = 'The file may be damaged or altered: copy it anew, or resume from an older one.'
    throw new AutoprogError('CHECKPOINT', `${path} says nothing sensible of its ${key}`, { hint })
  }
  return {
    tensors,
    trainer: said('trainer', isTrainerState, withWork),
    recipe: metadata.recipe === undefined ? undefined : said('recipe', isMapping),
    data: metadata.data === undefined ? undefined : said('data', isDataIdentity),
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** A recipe is checked as such when it is compared. */
const isMapping = (value: unknown): value is ConfigInput => typeof value === 'object' && value !== null

async function list(run: string): Promise<string[]> {
  const files = await readdir(folderOf(run)).catch(() => [])
  const steps = files.flatMap((file) => checkpointStep(file) ?? [])
  return steps.sort((a, b) => a - b).map(fileOf)
}
