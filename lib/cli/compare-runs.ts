/** The runs of a comparison: trained one after another, resumed where they stopped, kept where they have ended. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { AutoprogError } from '../errors.js'
import { type Config, configToYaml, loadConfig } from '../recipe/config.js'
import type { Summary } from '../report/events.js'
import { duration, plural } from '../report/format.js'
import type { RunsAround } from '../report/progress.js'
import { hasCheckpoint, hasSummary, readSummary, writeAtomically } from '../report/run-folder.js'
import { printLine } from '../report/terminal.js'
import { withAbsolutePaths } from '../training/run-data.js'
import { type CommonOptions, printNotices, printResult } from './command.js'
import { changesOf, type FinishedRun, secondsOf } from './compare-plan.js'
import type { Interrupt } from './interrupt.js'
import { holdsRun, runTraining } from './run.js'

/** A run to make. What it trains may follow from runs before it. */
export interface Entry {
  /** The name of its row. */
  readonly scheme: string
  readonly seed: number
  readonly group: string
  readonly folder: string
  recipe(finished: readonly FinishedRun[], notify: (notice: string) => void): Config
  /** The folder of the ordinary training that it is measured against, once that has ended. */
  baseline(finished: readonly FinishedRun[]): string | undefined
}

export interface Surroundings {
  readonly stream: NodeJS.WriteStream
  readonly interrupt: Interrupt
}

/** Makes all runs in order; fewer come back where a signal stopped it. Throws CONFIG where a folder holds another recipe's run. */
export async function makeRuns(entries: readonly Entry[], surroundings: Surroundings): Promise<FinishedRun[]> {
  const finished: FinishedRun[] = []
  const notices = new Set<string>()
  for (const [index, entry] of entries.entries()) {
    const { scheme, seed, group, folder } = entry
    const rest = entries.slice(index + 1)
    const left = secondsOf([entry, ...rest], finished)
    const about = left === undefined ? '' : `, about ${duration(left)} left for all`
    printLine(surroundings.stream, `\n${scheme}, seed ${seed} (run ${index + 1} of ${entries.length}${about})`)
    const summary = await settle(entry, finished, surroundings, {
      ...{ run: index + 1, runs: entries.length, notices },
      secondsAfter: (seconds) => secondsOf(rest, [...finished, { scheme, summary: { totalSeconds: seconds } }]) ?? 0,
    })
    if (summary === undefined) break
    finished.push({ scheme, seed, group, folder, summary })
  }
  return finished
}

/** The summary of a run: of the finished one in its folder, or of the training now done or resumed there. */
async function settle(
  entry: Entry,
  finished: readonly FinishedRun[],
  { stream, interrupt }: Surroundings,
  around: RunsAround,
): Promise<Summary | undefined> {
  const { folder } = entry
  const notify = (notice: string) => printNotices(stream, [notice])
  const asked = withAbsolutePaths(entry.recipe(finished, notify))
  // What a run records is settled for its data and machine: what was asked for is kept beside it.
  const [recorded, record] = ['config.yaml', 'asked.yaml'].map((name) => join(folder, name)) as [string, string]
  if (holdsRun(folder)) {
    const changes = changesOf(asked, withAbsolutePaths(loadConfig({ file: existsSync(record) ? record : recorded })))
    if (changes.length > 0) {
      const hint = `asked for and recorded: ${changes.join('; ')}. Choose another --out, or remove the folder`
      throw new AutoprogError('CONFIG', `${folder} holds a run of another recipe`, { hint })
    }
  }
  if (hasSummary(folder)) {
    printLine(stream, `kept: ${folder} has ended already`)
    return readSummary(folder)
  }
  const resume = hasCheckpoint(folder)
  const config = resume ? loadConfig({ file: recorded }) : asked
  const baseline = entry.baseline(finished)
  const request = { config, out: folder, resume, stream, interrupt, around }
  const summary = await runTraining({ ...request, ...(baseline !== undefined && { baseline }) })
  if (holdsRun(folder)) writeAtomically(record, configToYaml(asked))
  return summary
}

/** Tells that a signal stopped runs before all had ended. */
export function reportStop(
  interrupt: Interrupt,
  runs: readonly FinishedRun[],
  planned: number,
  options: CommonOptions,
): void {
  process.exitCode = interrupt.status() ?? 1
  printLine(
    process.stderr,
    `stopped after ${runs.length} of ${plural(planned, 'run')}; the same command goes on from there`,
  )
  if (options.json) printResult(options, { interrupted: true, runs }, '')
}

/** The finished runs of folders, each a run's or one that holds runs. Throws CHECKPOINT where a folder has none. */
export function findRuns(folders: readonly string[]): FinishedRun[] {
  return folders.flatMap((folder) => {
    if (hasSummary(folder)) return [finishedRun(folder, '')]
    const inner = existsSync(folder) && statSync(folder).isDirectory() ? readdirSync(folder).sort() : []
    const runs = inner.map((name) => join(folder, name)).filter(hasSummary)
    if (runs.length > 0) return runs.map((run) => finishedRun(run, basename(resolve(folder))))
    const hint = 'give the folder of a run that has ended, or one that holds such folders'
    throw new AutoprogError('CHECKPOINT', `There is no finished run in ${folder}`, { hint })
  })
}

/** A finished run by its folder's name, without the seed that stands at its end. */
function finishedRun(folder: string, group: string): FinishedRun {
  const summary = readSummary(folder)
  const { seed } = summary
  const name = basename(resolve(folder))
  const suffix = `-${seed}`
  const own = name.endsWith(suffix) ? name.slice(0, -suffix.length) : name
  return { scheme: group === '' ? own : `${group} ${own}`, seed, group, folder, summary }
}
