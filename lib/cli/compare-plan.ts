/** What a comparison runs, in which order and with which recipe. */
import { isDeepStrictEqual } from 'node:util'
import { type Config, resolveConfig, scheduleKinds, withScheme } from '../recipe/config.js'
import type { Summary } from '../report/events.js'

/** The schemes of a comparison: the trainer's, and `original-short`, the original given as long as AutoProg took. */
export const comparedSchemes = [...scheduleKinds, 'original-short'] as const
export type ComparedScheme = (typeof comparedSchemes)[number]

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
 * The original scheme in AutoProg's time: as many epochs as that holds, never rounded down, so that the control has no
 * less time than what it controls; warm-up and cooldown in proportion.
 */
export function shortenedOriginal(
  config: Config,
  original: Summary,
  autoprog: Summary,
): { config: Config; notice: string } {
  const { warmupEpochs, cooldownEpochs } = config.learningRate
  const all = config.epochs + cooldownEpochs
  const fitting = (all * autoprog.seconds) / original.seconds
  const given = Math.max(1, Math.ceil(fitting))
  const cooldown = Math.min(given - 1, Math.round((cooldownEpochs * given) / all))
  const epochs = given - cooldown
  const learningRate = {
    ...config.learningRate,
    warmupEpochs: (warmupEpochs * epochs) / config.epochs,
    cooldownEpochs: cooldown,
  }
  const notice = `original-short, seed ${config.seed}: ${fitting.toFixed(2)} epochs of the original fit AutoProg's time; it gets ${given} of ${all}`
  return { config: resolveConfig({ ...withScheme(config, 'original'), epochs, learningRate }), notice }
}

/** Whether a recorded recipe is the one asked for; what was `auto` may have been settled since. */
export function sameConfig(asked: unknown, recorded: unknown): boolean {
  if (asked === 'auto') return true
  if (asked === null || typeof asked !== 'object' || recorded === null || typeof recorded !== 'object') {
    return isDeepStrictEqual(asked, recorded)
  }
  const keys = new Set([...Object.keys(asked), ...Object.keys(recorded)])
  const at = (value: object, key: string) => (value as Record<string, unknown>)[key]
  return [...keys].every((key) => sameConfig(at(asked, key), at(recorded, key)))
}

/** What is wrong with a list of schemes, if anything: a control needs what it is controlled against. */
export function missingSchemes(schemes: readonly ComparedScheme[]): string | undefined {
  const missing = (['original', 'autoprog'] as const).filter((scheme) => !schemes.includes(scheme))
  if (!schemes.includes('original-short') || missing.length === 0) return undefined
  return `original-short takes its length from original and autoprog: add ${missing.join(' and ')} to --schemes`
}
