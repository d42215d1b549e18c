/** One training run as the command line makes it: shown as it goes, stopped by a signal. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { AutoprogError, nearest, someOf } from '../errors.js'
import type { Config } from '../recipe/config.js'
import type { Summary } from '../report/events.js'
import { createProgress, type RunsAround } from '../report/progress.js'
import { printLine } from '../report/terminal.js'
import { createCounter } from './counter.js'
import type { Interrupt } from './interrupt.js'

export interface RunRequest {
  config: Config
  out: string
  resume: boolean
  baseline?: string
  stream: NodeJS.WriteStream
  interrupt: Interrupt
  around?: RunsAround
}

/** Trains to the end and returns the summary, or undefined where a signal stopped the run before. */
export async function runTraining(request: RunRequest): Promise<Summary | undefined> {
  const { config, out, resume, baseline, stream, interrupt, around } = request
  // Loaded late, so that help and a mistake on the command line need no addon.
  const { train } = await import('../training/trainer.js')
  const progress = createProgress({ stream, around })
  const listing = createCounter(stream, 'listing', 'file')
  const reading = createCounter(stream, 'reading', 'image')
  const evaluating = createCounter(stream, 'evaluating', 'image')
  const comparing = createCounter(stream, 'comparing candidates on', 'image')
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
      if (event.type === 'start' && around === undefined) printLine(stream, `run folder: ${out}`)
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

/** The runs in `folder` and in the comparisons there, the last written first. */
export function runsIn(folder: string): string[] {
  const foldersIn = (path: string) =>
    existsSync(path) ? readdirSync(path, { withFileTypes: true }).filter((each) => each.isDirectory()) : []
  const found = foldersIn(folder).flatMap(({ name }) => {
    const path = join(folder, name)
    return holdsRun(path)
      ? [path]
      : foldersIn(path)
          .map((inner) => join(path, inner.name))
          .filter(holdsRun)
  })
  const written = (run: string) =>
    statSync(existsSync(join(run, 'events.jsonl')) ? join(run, 'events.jsonl') : run).mtimeMs
  return found.sort((a, b) => written(b) - written(a))
}

/** Throws CHECKPOINT where there is no such folder, naming the runs that there are. */
export function checkRun(run: string): void {
  if (existsSync(run)) return
  const runs = runsIn('runs')
  const near = nearest(
    basename(run),
    runs.map((each) => basename(each)),
  )
  const guess = runs.find((each) => basename(each) === near)
  const hint =
    guess !== undefined
      ? `did you mean ${guess}?`
      : runs.length > 0
        ? `runs that there are: ${someOf(runs)}`
        : 'no runs are in runs/'
  throw new AutoprogError('CHECKPOINT', `There is no run ${run}`, { hint })
}
