import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { AutoprogError } from '../errors.js'
import { readTensors, writeTensors } from '../models/weights.js'
import type { SessionState } from '../session/grow.js'

/** One file per checkpoint, `checkpoints/step-00001234.safetensors`: all tensors, and the trainer's state as metadata. */
export interface Checkpoint<T> {
  readonly path: string
  readonly tensors: SessionState
  readonly trainer: T
}

const version = '1'
const folderOf = (run: string) => join(run, 'checkpoints')
const stepOf = (file: string) => Number(/^step-(\d+)\.safetensors$/.exec(file)?.[1] ?? Number.NaN)

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
  await mkdir(folder, { recursive: true }).catch((cause: NodeJS.ErrnoException) => {
    throw new AutoprogError('CHECKPOINT', `Cannot make the folder ${folder}: ${cause.code ?? cause.message}`, {
      hint: 'Choose an output folder that can be written.',
      cause,
    })
  })
  const path = join(folder, `step-${String(step).padStart(8, '0')}.safetensors`)
  await writeTensors(path, tensors, { version, recipe, trainer: JSON.stringify(trainer) })
  // Besides what is no longer kept, a process killed while it wrote has left its temporary file.
  const leftovers = (await readdir(folder)).filter((file) => /^step-.*\.tmp$/.test(file))
  for (const old of [...(await list(run)).slice(0, -keep), ...leftovers]) await rm(join(folder, old), { force: true })
  return path
}

/** The newest checkpoint of a run, or the one named. Throws CHECKPOINT where there is none, it is damaged, or of another recipe. */
export async function loadCheckpoint<T>(run: string, recipe?: string, file?: string): Promise<Checkpoint<T>> {
  const newest = file ?? (await list(run)).at(-1)
  if (newest === undefined)
    throw new AutoprogError('CHECKPOINT', `There is no checkpoint in ${folderOf(run)}`, {
      hint: 'Give the folder of a run that has written one, or start without --resume.',
    })
  const path = join(folderOf(run), newest)
  const { tensors, metadata } = await readTensors(path)
  if (metadata.version !== version || metadata.trainer === undefined)
    throw new AutoprogError('CHECKPOINT', `${path} is not a checkpoint of this version of autoprog`, {
      hint: 'It may hold weights alone: load those with session.load.',
    })
  if (recipe !== undefined && metadata.recipe !== recipe)
    throw new AutoprogError(
      'CHECKPOINT',
      `${path} was written under another recipe${firstDifference(metadata.recipe, recipe)}`,
      {
        hint: 'Resume with the recipe in config.yaml of the run folder, or start a new run in another folder.',
      },
    )
  return { path, tensors, trainer: JSON.parse(metadata.trainer) as T }
}

export async function hasCheckpoint(run: string): Promise<boolean> {
  return (await list(run)).length > 0
}

async function list(run: string): Promise<string[]> {
  const files = await readdir(folderOf(run)).catch(() => [])
  return files.filter((file) => Number.isFinite(stepOf(file))).sort((a, b) => stepOf(a) - stepOf(b))
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
