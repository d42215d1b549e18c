/** What a comparison runs, in which order and with which recipe. */
import { basename } from 'node:path'
import { type Config, resolveConfig, scheduleKinds, withScheme } from '../recipe/config.js'
import { recipeDifferences } from '../recipe/differences.js'
import { readKeys } from '../recipe/read-keys.js'
import type { ComparedRun } from '../report/comparison.js'
import type { Summary } from '../report/events.js'

/** The schemes of a comparison: the trainer's, and `original-short`, the original given as long as AutoProg took. */
export const comparedSchemes = [...scheduleKinds, 'original-short'] as const
export type ComparedScheme = (typeof comparedSchemes)[number]

/** A run that has ended. `group` is the recipe, or the folder of runs, that it belongs to. */
export interface FinishedRun extends ComparedRun {
  readonly folder: string
  readonly group: string
}

export interface PlannedRun {
  readonly scheme: ComparedScheme
  readonly seed: number
}

/**
 * Runs seed by seed, so that a machine that speeds up or slows down meets every scheme alike; within a seed in the
 * order given, `original-short` last, since the others of its seed say how long it is.
 */
export function planRuns(schemes: readonly ComparedScheme[], seeds: readonly number[]): PlannedRun[] {
  const ordered = [...new Set(schemes)].sort((a, b) => Number(a === 'original-short') - Number(b === 'original-short'))
  return [...new Set(seeds)].flatMap((seed) => ordered.map((scheme) => ({ scheme, seed })))
}

/**
 * Seconds that runs are taken to take: as long as those of the same scheme that ended, or else of any scheme. Undefined
 * where none ended.
 */
export function secondsOf(
  runs: readonly { scheme: string }[],
  ended: readonly { scheme: string; summary: Pick<Summary, 'totalSeconds'> }[],
): number | undefined {
  if (ended.length === 0) return undefined
  const mean = (some: typeof ended) => some.reduce((sum, { summary }) => sum + summary.totalSeconds, 0) / some.length
  return runs.reduce((sum, run) => {
    const alike = ended.filter(({ scheme }) => scheme === run.scheme)
    return sum + mean(alike.length > 0 ? alike : ended)
  }, 0)
}

/**
 * The original scheme in AutoProg's time: as many epochs as that holds, never rounded down, so that the control has no
 * less time than what it controls, and never more than the original's; warm-up and cooldown in proportion.
 */
export function shortenedOriginal(
  config: Config,
  original: Summary,
  autoprog: Summary,
): { config: Config; notice: string } {
  const { warmupEpochs, cooldownEpochs } = config.learningRate
  const all = config.epochs + cooldownEpochs
  const fitting = (all * autoprog.seconds) / original.seconds
  const given = Math.min(all, Math.max(1, Math.ceil(fitting)))
  const cooldown = Math.min(given - 1, Math.round((cooldownEpochs * given) / all))
  const epochs = given - cooldown
  const learningRate = {
    ...config.learningRate,
    warmupEpochs: (warmupEpochs * epochs) / config.epochs,
    cooldownEpochs: cooldown,
  }
  const outcome =
    fitting > all ? `AutoProg took longer than the original, so it gets all ${all}` : `it gets ${given} of ${all}`
  const notice = `original-short, seed ${config.seed}: ${fitting.toFixed(2)} epochs of the original fit AutoProg's time; ${outcome}`
  return { config: resolveConfig({ ...withScheme(config, 'original'), epochs, learningRate }), notice }
}

/**
 * In what a recorded run differs from the one asked for: keys that its scheme does not read do not count, nor what was
 * `auto` and has been settled since. Asked first, recorded second.
 */
export function changesOf(asked: Config, recorded: Config): string[] {
  const [left, right] = [readKeys(asked), readKeys(recorded)]
  return recipeDifferences(settled(left, right), right)
}

/** The same values with those that were `auto` as they are recorded. */
function settled(asked: unknown, recorded: unknown): unknown {
  if (asked === 'auto') return recorded
  if (asked === null || typeof asked !== 'object' || Array.isArray(asked)) return asked
  const at = (key: string) => (recorded as Record<string, unknown> | null | undefined)?.[key]
  return Object.fromEntries(Object.entries(asked).map(([key, value]) => [key, settled(value, at(key))]))
}

/**
 * The run of ordinary training that another is measured against: of the same network, data and seed, if possible of its own
 * group; the longest, since a shortened original is one too. Undefined where there is none.
 */
export function baselineOf({ group, seed, summary }: FinishedRun, finished: readonly FinishedRun[]) {
  const { model, data } = summary
  const originals = finished
    .filter((run) => run.seed === seed && run.summary.scheme === 'original')
    .filter((run) => run.summary.model === model && run.summary.data === data)
    .sort((a, b) => b.summary.epochs - a.summary.epochs)
  return originals.find((run) => run.group === group) ?? originals[0]
}

/** What is wrong with a list of schemes, if anything: a control needs what it is controlled against. */
export function missingSchemes(schemes: readonly ComparedScheme[]): string | undefined {
  const missing = (['original', 'autoprog'] as const).filter((scheme) => !schemes.includes(scheme))
  if (!schemes.includes('original-short') || missing.length === 0) return undefined
  return `original-short takes its length from original and autoprog: add ${missing.join(' and ')} to --schemes`
}

/** A row's name and the beginning of its folder's, where several recipes are compared: names that meet get their path. */
export function recipeLabels(files: readonly string[]): string[] {
  const plain = (file: string) => file.replace(/\.ya?ml$/, '')
  const names = files.map((file) => basename(plain(file)))
  return files.map((file, index) =>
    names.filter((name) => name === names[index]).length > 1 ? plain(file) : names[index]!,
  )
}
