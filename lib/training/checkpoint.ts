import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { AutoprogError } from '../errors.js'
import { makeFolder } from '../folder.js'
import { readTensors, writeTensors } from '../models/tensor-file.js'
import { checkpointStep } from '../report/run-folder.js'
import type { SessionState } from '../session/grow.js'

/** One file per checkpoint, `checkpoints/step-00001234.safetensors`: all tensors, and the trainer's state as metadata. */
export interface Checkpoint<T> {
  readonly path: string
  readonly tensors: SessionState
  readonly trainer: T
  /** What was wrong with newer ones. */
  readonly notices: readonly string[]
}

/** Since version 2 a checkpoint carries a checksum. */
const version = '2'
const versions = ['1', version]
const fileOf = (step: number) => `step-${String(step).padStart(8, '0')}.safetensors`
const folderOf = (run: string) => join(run, 'checkpoints')

/** Writes a checkpoint atomically, then removes all but the newest `keep`. Returns its path. Throws CHECKPOINT. */
export async function saveCheckpoint(
  run: string,
  step: number,
  tensors: SessionState,
  trainer: unknown,
  recipe: string,
  keep: number,
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
  await writeTensors(path, tensors, { version, recipe, trainer: JSON.stringify(trainer) })
  // Besides what is no longer kept, a process killed while it wrote has left its temporary file.
  const leftovers = (await readdir(folder)).filter((file) => /^step-.*\.tmp$/.test(file))
  for (const old of [...(await list(run)).slice(0, -keep), ...leftovers]) await rm(join(folder, old), { force: true })
  return path
}

/**
 * The newest sound checkpoint of a run, or the one named. Throws CHECKPOINT where there is none, each is damaged, or it is of
 * another recipe.
 */
export async function loadCheckpoint<T>(run: string, recipe?: string, file?: string): Promise<Checkpoint<T>> {
  const candidates = file === undefined ? (await list(run)).reverse() : [file]
  const damages: AutoprogError[] = []
  for (const candidate of candidates) {
    const path = join(folderOf(run), candidate)
    const read = await readCheckpoint<T>(path).catch((error: unknown) => {
      if (!(error instanceof AutoprogError)) throw error
      damages.push(error)
    })
    if (read === undefined) continue
    if (recipe !== undefined && read.recipe !== recipe)
      throw new AutoprogError(
        'CHECKPOINT',
        `${path} was written under another recipe${firstDifference(read.recipe, recipe)}`,
        {
          hint: 'Resume with the recipe in config.yaml of the run folder, or start a new run in another folder.',
        },
      )
    const notices = damages.map(({ message }) => `${message}; an older checkpoint is used instead, ${path}`)
    return { path, tensors: read.tensors, trainer: read.trainer, notices }
  }
  throw (
    damages[0] ??
    new AutoprogError('CHECKPOINT', `There is no checkpoint in ${folderOf(run)}`, {
      hint: 'Give the folder of a run that has written one, or start without --resume.',
    })
  )
}

async function readCheckpoint<T>(path: string): Promise<{ tensors: SessionState; trainer: T; recipe?: string }> {
  const { tensors, metadata, checked } = await readTensors(path)
  const known = metadata.version !== undefined && versions.includes(metadata.version)
  if (!known || metadata.trainer === undefined || (metadata.version === version && !checked))
    throw new AutoprogError('CHECKPOINT', `${path} is not a checkpoint of this version of autoprog`, {
      hint: 'It may hold weights alone: load those with session.load.',
    })
  const { recipe } = metadata
  return { tensors, trainer: JSON.parse(metadata.trainer) as T, ...(recipe !== undefined && { recipe }) }
}

async function list(run: string): Promise<string[]> {
  const files = await readdir(folderOf(run)).catch(() => [])
  const steps = files.flatMap((file) => checkpointStep(file) ?? [])
  return steps.sort((a, b) => a - b).map(fileOf)
}

/** `: epochs was 20 and is 10`, for two recipes in JSON. */
function firstDifference(stored = '{}', given: string): string {
  const flatten = (value: unknown, path: string): [string, string][] =>
    value !== null && typeof value === 'object'
      ? Object.entries(value).flatMap(([key, inner]) => flatten(inner, path ? `${path}.${key}` : key))
      : [[path, JSON.stringify(value)]]
  const before = new Map(flatten(JSON.parse(stored), ''))
  const now = new Map(flatten(JSON.parse(given), ''))
  for (const key of new Set([...before.keys(), ...now.keys()]))
    if (before.get(key) !== now.get(key))
      return `: ${key} was ${before.get(key) ?? 'absent'} and is ${now.get(key) ?? 'absent'}`
  return ''
}
