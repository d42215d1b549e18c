/** Statistics over runs of several schemes and seeds: the paper's tables (accuracy, average FLOPs, time, speed-ups). */
import type { Summary } from './events.js'
import { duration, percent, scaled, times } from './format.js'
import { markdownTable } from './table.js'

export interface ComparedRun {
  readonly scheme: string
  readonly seed: number
  readonly summary: Summary
}

/** Mean, sample standard deviation (null for a single value) and range. */
export interface Spread {
  readonly mean: number
  readonly deviation: number | null
  readonly min: number
  readonly max: number
}

export interface SchemeStatistics {
  readonly scheme: string
  readonly seeds: readonly number[]
  readonly epochs: number // mean over the seeds
  /** Held-out top-1 of the weights, and of the better of weights and best average, in [0, 1]. */
  readonly top1: Spread | null
  readonly best: Spread | null
  /** Forward multiply-adds per image and step. */
  readonly flopsPerStep: Spread
  readonly seconds: Spread
  /**
   * Means over the seeds of original / this, same seed: forward multiply-adds of the whole run, and training seconds.
   * Null where a seed has no original run. For runs of equal length the first is the paper's ratio of average FLOPs.
   */
  readonly speedupTheoretical: number | null
  readonly speedupPractical: number | null
  /** Practical / theoretical. */
  readonly practicalShare: number | null
}

/** The better of a run's weights and its best average, as the paper reports. */
export function bestTop1({ top1, top1Ema }: Summary): number | null {
  return top1 === null || top1Ema === null ? (top1 ?? top1Ema) : Math.max(top1, top1Ema)
}

/** One row a scheme, in order of first appearance. */
export function compareRuns(runs: readonly ComparedRun[]): SchemeStatistics[] {
  const schemes = [...new Set(runs.map((run) => run.scheme))]
  return schemes.map((scheme) => {
    const own = runs.filter((run) => run.scheme === scheme)
    const against = (cost: (summary: Summary) => number) =>
      mean(
        own.map(({ seed, summary }) => {
          const original = runs.find((run) => run.scheme === 'original' && run.seed === seed)
          return original === undefined ? null : cost(original.summary) / cost(summary)
        }),
      )
    const speedupTheoretical = against((summary) => summary.flopsPerStep * summary.steps * summary.batch)
    const speedupPractical = against((summary) => summary.seconds)
    return {
      scheme,
      seeds: own.map((run) => run.seed),
      epochs: own.reduce((sum, run) => sum + run.summary.epochs, 0) / own.length,
      top1: spread(own.map((run) => run.summary.top1)),
      best: spread(own.map((run) => bestTop1(run.summary))),
      flopsPerStep: spread(own.map((run) => run.summary.flopsPerStep))!,
      seconds: spread(own.map((run) => run.summary.seconds))!,
      speedupTheoretical,
      speedupPractical,
      practicalShare:
        speedupTheoretical === null || speedupPractical === null ? null : speedupPractical / speedupTheoretical,
    }
  })
}

/** The comparison as a Markdown table. */
export function comparisonMarkdown(statistics: readonly SchemeStatistics[]): string {
  const { head, rows } = comparisonRows(statistics)
  return markdownTable(head, rows, 1)
}

/** Head and rows of the comparison, as text. */
export function comparisonRows(statistics: readonly SchemeStatistics[]): { head: string[]; rows: string[][] } {
  const head = [
    'scheme',
    'epochs',
    'top-1',
    'average MACs',
    'time',
    'theoretical',
    'practical',
    'practical / theoretical',
  ]
  const rows = statistics.map((each) => [
    each.scheme,
    String(Number(each.epochs.toFixed(1))),
    each.best === null
      ? '–'
      : percent(each.best.mean) + (each.best.deviation === null ? '' : ` ± ${(100 * each.best.deviation).toFixed(2)}`),
    scaled(each.flopsPerStep.mean),
    duration(each.seconds.mean),
    times(each.speedupTheoretical),
    times(each.speedupPractical),
    each.practicalShare === null ? '–' : each.practicalShare.toFixed(2),
  ])
  return { head, rows }
}

/** Null where a value is unknown: a mean over fewer seeds would not say so. */
function spread(values: readonly (number | null)[]): Spread | null {
  const average = mean(values)
  if (average === null) return null
  const known = values.filter((value) => value !== null)
  const squares = known.reduce((sum, value) => sum + (value - average) ** 2, 0)
  const deviation = known.length < 2 ? null : Math.sqrt(squares / (known.length - 1))
  return { mean: average, deviation, min: Math.min(...known), max: Math.max(...known) }
}

function mean(values: readonly (number | null)[]): number | null {
  let sum = 0
  for (const value of values) {
    if (value === null) return null
    sum += value
  }
  return values.length === 0 ? null : sum / values.length
}
