/** Statistics over runs of several schemes and seeds: the paper's tables (accuracy, average FLOPs, time, speed-ups). */
import type { Summary } from './events.js'
import { duration, percent, scaled, times } from './format.js'
import { markdownTable, table } from './table.js'
import { type Look, paint } from './terminal.js'

export interface ComparedRun {
  /** What its row is called: a scheme, or what tells it from the other runs. */
  readonly scheme: string
  readonly seed: number
  /** The row that it is measured against; `original` unless given. */
  readonly baseline?: string
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
  /**
   * Held-out top-1, in [0, 1], of the best average, as the paper reports it, and of the weights. Which average is best is
   * chosen by the same held-out images.
   */
  readonly bestAverage: Spread | null
  readonly weights: Spread | null
  /** Forward multiply-adds per image and step. */
  readonly flopsPerStep: Spread
  readonly seconds: Spread
  /**
   * Means over the seeds of baseline / this, same seed: forward multiply-adds of the whole run, and training seconds.
   * Null where a seed has no baseline. For runs of equal length the first is the paper's ratio of average FLOPs.
   */
  readonly speedupTheoretical: number | null
  readonly speedupPractical: number | null
  /** Practical / theoretical. */
  readonly practicalShare: number | null
  /** Multiply-adds and theoretical speed-up of the recipe's epochs alone, as the paper counts; null where no run has a cooldown. */
  readonly withoutCooldown: { readonly flopsPerStep: number; readonly speedupTheoretical: number | null } | null
}

/** A run's cost without its cooldown, if it has one. */
function scheduledCost({ withoutCooldown, steps, flopsPerStep }: Summary): { steps: number; flopsPerStep: number } {
  return withoutCooldown ?? { steps, flopsPerStep }
}

/** One row a scheme, in order of first appearance. */
export function compareRuns(runs: readonly ComparedRun[]): SchemeStatistics[] {
  const schemes = [...new Set(runs.map((run) => run.scheme))]
  return schemes.map((scheme) => {
    const own = runs.filter((run) => run.scheme === scheme)
    const against = (cost: (summary: Summary) => number) =>
      mean(
        own.map(({ seed, summary, baseline = 'original' }) => {
          const original = runs.find((run) => run.scheme === baseline && run.seed === seed)
          return original === undefined ? null : cost(original.summary) / cost(summary)
        }),
      )
    const speedupTheoretical = against((summary) => summary.flopsPerStep * summary.steps * summary.batch)
    const scheduled = own.map((run) => scheduledCost(run.summary))
    const speedupPractical = against((summary) => summary.seconds)
    return {
      scheme,
      seeds: own.map((run) => run.seed),
      epochs: own.reduce((sum, run) => sum + run.summary.epochs, 0) / own.length,
      bestAverage: spread(own.map((run) => run.summary.top1Ema)),
      weights: spread(own.map((run) => run.summary.top1)),
      flopsPerStep: spread(own.map((run) => run.summary.flopsPerStep))!,
      seconds: spread(own.map((run) => run.summary.seconds))!,
      speedupTheoretical,
      speedupPractical,
      practicalShare:
        speedupTheoretical === null || speedupPractical === null ? null : speedupPractical / speedupTheoretical,
      withoutCooldown: runs.some((run) => run.summary.withoutCooldown)
        ? {
            flopsPerStep: mean(scheduled.map((cost) => cost.flopsPerStep))!,
            speedupTheoretical: against((summary) => {
              const { steps, flopsPerStep } = scheduledCost(summary)
              return flopsPerStep * steps * summary.batch
            }),
          }
        : null,
    }
  })
}

/** What a reader of the comparison has to know of its figures. */
export const comparisonNote =
  'Top-1 of the best moving average and of the weights, on the test images. Validation images choose that average where a run has some, else the test images do too.'

/** The comparison as a Markdown table. */
export function comparisonMarkdown(statistics: readonly SchemeStatistics[]): string {
  const { head, rows } = comparisonRows(statistics)
  return markdownTable(head, rows, 1)
}

/** The same as a box for a terminal; the best average stands out. */
export function comparisonTable(statistics: readonly SchemeStatistics[], look: Look): string {
  const { head, rows } = comparisonRows(statistics)
  const best = Math.max(...statistics.map((each) => each.bestAverage?.mean ?? 0))
  const shown = rows.map((row, index) =>
    row.map((cell, column) =>
      head[column] === 'best average' && statistics[index]?.bestAverage?.mean === best
        ? paint(look, 'green', cell)
        : cell,
    ),
  )
  return table(head, shown, 1, look)
}

/** Head and rows of the comparison, as text. */
export function comparisonRows(statistics: readonly SchemeStatistics[]): { head: string[]; rows: string[][] } {
  const cooled = statistics.some((each) => each.withoutCooldown !== null)
  const head = [
    'scheme',
    'epochs',
    'best average',
    'weights',
    'average MACs',
    'time',
    'theoretical',
    'practical',
    'practical / theoretical',
    ...(cooled ? ['MACs without cooldown', 'theoretical'] : []),
  ]
  const rows = statistics.map((each) => [
    each.scheme,
    String(Number(each.epochs.toFixed(1))),
    accuracy(each.bestAverage),
    accuracy(each.weights),
    scaled(each.flopsPerStep.mean),
    duration(each.seconds.mean),
    times(each.speedupTheoretical),
    times(each.speedupPractical),
    each.practicalShare === null ? '–' : each.practicalShare.toFixed(2),
    ...(each.withoutCooldown
      ? [scaled(each.withoutCooldown.flopsPerStep), times(each.withoutCooldown.speedupTheoretical)]
      : []),
  ])
  return { head, rows }
}

function accuracy(top1: Spread | null): string {
  if (top1 === null) return '–'
  return percent(top1.mean) + (top1.deviation === null ? '' : ` ± ${(100 * top1.deviation).toFixed(2)}`)
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
