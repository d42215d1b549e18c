/** The record of a run: `events.jsonl`, one event a line, and `summary.json` once the run has ended. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { AutoprogError } from '../errors.js'
import type { Summary, TrainingEvent } from './events.js'

/**
 * Passes events on and writes each to `folder` first. A `start` event with `resumedFrom` cuts the log back to that
 * step, since what an interrupted run said after its last checkpoint will be said again; any other start empties it.
 * Throws CHECKPOINT where the folder cannot be written.
 */
export async function* recordEvents(
  events: AsyncIterable<TrainingEvent>,
  folder: string,
): AsyncGenerator<TrainingEvent> {
  const path = join(folder, 'events.jsonl')
  const file = writing(path, () => {
    mkdirSync(folder, { recursive: true })
    return openSync(path, 'a+')
  })
  try {
    for await (const event of events) {
      writing(path, () => {
        if (event.type === 'start')
          ftruncateSync(file, event.resumedFrom === null ? 0 : keptBytes(path, event.resumedFrom))
        writeSync(file, `${JSON.stringify(event)}\n`)
      })
      if (event.type === 'end') writeSummary(folder, event.summary)
      yield event
    }
  } finally {
    closeSync(file)
  }
}

/** The events of a run, in order; a last line cut short by a crash is left out. Throws CHECKPOINT. */
export function readEvents(folder: string): TrainingEvent[] {
  return [...eventLines(readText(join(folder, 'events.jsonl')))].map(({ event }) => event)
}

export function hasSummary(folder: string): boolean {
  return existsSync(join(folder, 'summary.json'))
}

/** The summary of a finished run. Throws CHECKPOINT where there is none. */
export function readSummary(folder: string): Summary {
  const text = readText(join(folder, 'summary.json'))
  try {
    return JSON.parse(text) as Summary
  } catch (cause) {
    throw new AutoprogError('CHECKPOINT', `${join(folder, 'summary.json')} is not JSON`, { cause })
  }
}

/** Writes text to a file so that a crash leaves the old content or the new, never half of it. Throws CHECKPOINT. */
export function writeAtomically(path: string, text: string): void {
  writing(path, () => {
    mkdirSync(dirname(path), { recursive: true })
    const temporary = `${path}.tmp`
    const file = openSync(temporary, 'w')
    try {
      writeSync(file, text)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(temporary, path)
  })
}

function writeSummary(folder: string, summary: Summary): void {
  writeAtomically(join(folder, 'summary.json'), `${JSON.stringify(summary, null, 2)}\n`)
}

function keptBytes(path: string, resumedFrom: number): number {
  let kept = 0
  for (const { event, end } of eventLines(readText(path))) {
    if (event.type === 'step' && event.step >= resumedFrom) break
    kept = end
    if (event.type === 'checkpoint' && event.step === resumedFrom) break
  }
  return kept
}

function* eventLines(text: string): Generator<{ event: TrainingEvent; end: number }> {
  let end = 0
  for (const line of text.split('\n').slice(0, -1)) {
    end += Buffer.byteLength(line) + 1
    try {
      yield { event: JSON.parse(line) as TrainingEvent, end }
    } catch (cause) {
      throw new AutoprogError('CHECKPOINT', `events.jsonl holds a line that is not JSON: ${line.slice(0, 60)}`, {
        cause,
      })
    }
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
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
