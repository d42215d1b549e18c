/** The record of a run: `events.jsonl`, one event a line, and `summary.json` once the run has ended. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { AutoprogError, someOf } from '../errors.js'
import { makeFolder } from '../folder.js'
import type { Summary, TrainingEvent } from './events.js'

/**
 * Passes events on and writes each to `folder` first, where nothing is made before the first. A `start` event with `resumedFrom` cuts the log back to that
 * step, since what an interrupted run said after its last checkpoint will be said again; any other start empties it. From a
 * damaged line on the log is lost, which a notice says. Throws CHECKPOINT where the folder cannot be written.
 */
export async function* recordEvents(
  events: AsyncIterable<TrainingEvent>,
  folder: string,
): AsyncGenerator<TrainingEvent> {
  const path = join(folder, 'events.jsonl')
  let opened: number | undefined
  try {
    for await (const event of events) {
      const told: TrainingEvent[] = [event]
      writing(path, () => {
        if (opened === undefined) makeFolder(folder)
        opened ??= openSync(path, 'a+')
        const file = opened
        if (event.type === 'start') {
          const { bytes, damage } = event.resumedFrom === null ? { bytes: 0 } : keptPart(path, event.resumedFrom)
          ftruncateSync(file, bytes)
          if (damage !== undefined) told.push({ type: 'notice', message: damage })
        }
        writeFileSync(file, told.map((each) => `${JSON.stringify(each)}\n`).join(''))
      })
      if (event.type === 'end') writeSummary(folder, event.summary)
      yield* told
    }
  } finally {
    if (opened !== undefined) closeSync(opened)
  }
}

/** The events of a run, in order; a last line cut short by a crash is left out. Throws CHECKPOINT. */
export function readEvents(folder: string): TrainingEvent[] {
  return [...eventLines(readBytes(join(folder, 'events.jsonl')))].map(({ event, text }) => {
    if (event !== undefined) return event
    throw new AutoprogError('CHECKPOINT', `events.jsonl holds a line that is not JSON: ${text.slice(0, 60)}`)
  })
}

/** The best weights so far, a model file, … */
export const bestFile = (folder: string) => join(folder, 'best.safetensors')

/** … and what they are, as a text. */
export const modelFile = (folder: string) => join(folder, 'model.json')

/** Whether a run can be resumed: it has written a checkpoint, to its end. */
export function hasCheckpoint(folder: string): boolean {
  return lastCheckpoint(folder) !== undefined
}

/** The file with the weights of the latest step. */
export function lastCheckpoint(folder: string): string | undefined {
  const checkpoints = join(folder, 'checkpoints')
  const files = existsSync(checkpoints) ? readdirSync(checkpoints) : []
  const steps = files.filter((file) => checkpointStep(file) !== undefined)
  const last = steps.sort((a, b) => checkpointStep(a)! - checkpointStep(b)!).at(-1)
  return last && join(checkpoints, last)
}

/** What a run writes into its folder, its comparison beside it, and what a killed one leaves. */
const ownName =
  /^(\..*|lost\+found|checkpoints|(config\.yaml|asked\.yaml|data\.json|model\.json|best\.safetensors|events\.jsonl|summary\.json|run\.lock)(\..*)?)$/

/** Throws CHECKPOINT where a new run would lie among the files of something else, or where a file is in its place. */
export function checkPlace(folder: string): void {
  if (!existsSync(folder)) return
  const hint = 'choose a folder that is new or empty'
  if (!statSync(folder).isDirectory())
    throw new AutoprogError('CHECKPOINT', `${folder} is a file, and no folder for a run`, { hint })
  const others = readdirSync(folder).filter((name) => !ownName.test(name))
  if (others.length === 0) return
  throw new AutoprogError('CHECKPOINT', `${folder} holds other files than those of a run: ${someOf(others)}`, { hint })
}

/** The step of a checkpoint by its file's name; undefined for any other file. */
export function checkpointStep(file: string): number | undefined {
  const digits = /^step-(\d+)\.safetensors$/.exec(file)?.[1]
  return digits === undefined ? undefined : Number(digits)
}

export function hasSummary(folder: string): boolean {
  return existsSync(join(folder, 'summary.json'))
}

/** The summary of a finished run. Throws CHECKPOINT where there is none. */
export function readSummary(folder: string): Summary {
  const text = readBytes(join(folder, 'summary.json')).toString('utf8')
  try {
    return JSON.parse(text) as Summary
  } catch (cause) {
    throw new AutoprogError('CHECKPOINT', `${join(folder, 'summary.json')} is not JSON`, { cause })
  }
}

/** Writes text to a file so that a crash leaves the old content or the new, never half of it. Throws CHECKPOINT. */
export function writeAtomically(path: string, text: string): void {
  writing(path, () => {
    makeFolder(dirname(path))
    const temporary = `${path}.tmp`
    try {
      const file = openSync(temporary, 'w')
      try {
        writeFileSync(file, text) // unlike writeSync, all of it or an error
        fsyncSync(file)
      } finally {
        closeSync(file)
      }
      renameSync(temporary, path)
    } catch (error) {
      rmSync(temporary, { force: true })
      throw error
    }
  })
}

function writeSummary(folder: string, summary: Summary): void {
  writeAtomically(join(folder, 'summary.json'), `${JSON.stringify(summary, null, 2)}\n`)
}

/** What the log held when the checkpoint of a step was written last, in bytes: up to its last event, or before the next step. */
function keptPart(path: string, resumedFrom: number): { bytes: number; damage?: string } {
  let bytes = 0
  let atCheckpoint: number | undefined
  for (const { event, end, number } of eventLines(readBytes(path))) {
    if (event === undefined)
      return { bytes, damage: `${path} was damaged: what it held from line ${number} on is lost` }
    if (event.type === 'step' && event.step >= resumedFrom) break
    bytes = end
    if (event.type === 'checkpoint' && event.step === resumedFrom) atCheckpoint = end
  }
  return { bytes: atCheckpoint ?? bytes }
}

/** The whole lines of a log, each with the bytes up to its end; without an event where it is not JSON. */
function* eventLines(log: Buffer): Generator<{ event?: TrainingEvent; text: string; end: number; number: number }> {
  let begin = 0
  for (let number = 1; ; number++) {
    const end = log.indexOf('\n', begin) + 1
    if (end === 0) return // cut short by a crash
    const text = log.toString('utf8', begin, end - 1)
    begin = end
    yield { text, end, number, ...parsed(text) }
  }
}

function parsed(text: string): { event?: TrainingEvent } {
  try {
    return { event: JSON.parse(text) as TrainingEvent }
  } catch {
    return {}
  }
}

function readBytes(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    const hint = 'give the folder of a run that autoprog train has ended'
    throw new AutoprogError('CHECKPOINT', `Cannot read ${path}`, { hint, cause })
  }
}

function writing<T>(path: string, write: () => T): T {
  try {
    return write()
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    const hint = 'the run folder must be writable and have room'
    throw new AutoprogError('CHECKPOINT', `Cannot write ${path}: ${reason}`, { hint, cause })
  }
}
