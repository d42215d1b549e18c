/** One training run as the command line makes it: shown as it goes, stopped by a signal. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../recipe/config.js'
import type { Summary } from '../report/events.js'
import { createProgress } from '../report/progress.js'
import { createCounter } from './counter.js'
import type { Interrupt } from './interrupt.js'

export interface RunRequest {
  config: Config
  out: string
  resume: boolean
  baseline?: string
  stream: NodeJS.WriteStream
  interrupt: Interrupt
}

/** Trains to the end and returns the summary, or undefined where a signal stopped the run before. */
export async function runTraining(request: RunRequest): Promise<Summary | undefined> {
  const { config, out, resume, baseline, stream, interrupt } = request
  // Loaded late, so that help and a mistake on the command line need no addon.
  const { train } = await import('../training/trainer.js')
  const progress = createProgress({ stream, bar: stream.isTTY === true })
  const listing = createCounter(stream, 'listing', 'files')
  const reading = createCounter(stream, 'reading', 'images')
  const evaluating = createCounter(stream, 'evaluating', 'images')
  const comparing = createCounter(stream, 'comparing candidates on', 'images')
  let summary: Summary | undefined
  try {
    const options = {
      ...{ out, resume, signal: interrupt.signal },
      ...{
        onListing: listing.show,
        onReading: reading.show,
        onEvaluating: evaluating.show,
        onComparing: comparing.show,
      },
      ...(baseline === undefined ? {} : { baseline }),
    }
    for await (const event of train(config, options)) {
      for (const counter of [listing, reading, evaluating, comparing]) counter.clear()
      progress.show(event)
      if (event.type === 'end') summary = event.summary
    }
  } catch (error) {
    // A run that a signal stopped may say so by throwing; anything else is a failure.
    const stopped = interrupt.signal.aborted && error instanceof Error && error.name === 'AbortError'
    if (!stopped) throw error
  } finally {
    progress.close()
  }
  return summary
}

/** Whether a folder holds a run, however far it came. */
export function holdsRun(folder: string): boolean {
  return existsSync(join(folder, 'config.yaml'))
}

/** `base`, or `base-2`, `base-3`, …: the first that holds nothing. */
export function freshFolder(base: string): string {
  for (let number = 1; ; number++) {
    const folder = number === 1 ? base : `${base}-${number}`
    if (!existsSync(folder) || readdirSync(folder).length === 0) return folder
  }
}

/** The last of `base`, `base-2`, … that holds a run; `base` where none does. */
export function latestRun(base: string): string {
  let latest = base
  for (let number = 2; holdsRun(`${base}-${number}`); number++) latest = `${base}-${number}`
  return latest
}
