/** A table of the paper with our figures beside its own. */
import { type ComparedRun, compareRuns } from '../report/comparison.js'
import type { Summary } from '../report/events.js'
import { duration, gain, percent, scaled } from '../report/format.js'
import { markdownTable } from '../report/table.js'
import type { FinishedRun } from './compare-plan.js'
import type { PaperFigures, PaperRow } from './paper-tables.js'

/** Ours, means over the seeds: shares, multiply-adds, ratios, seconds; null where unknown. */
export interface OwnFigures {
  readonly top1: number | null
  readonly top1At288: number | null
  readonly flops: number
  readonly theoretical: number | null
  readonly practical: number | null
  readonly seconds: number
  /** Of every seed, each once. */
  readonly schedules: readonly string[]
}

export interface PaperComparison {
  readonly name: string
  readonly paper: PaperFigures
  readonly own: OwnFigures
}

/** `fine` has the top-1 at 288 pixels of runs by their folders. */
export function paperComparison(
  rows: readonly PaperRow[],
  runs: readonly FinishedRun[],
  fine: ReadonlyMap<string, number>,
): PaperComparison[] {
  const runsOf = (row: PaperRow) => runs.filter((run) => run.scheme === row.run.name)
  const compared = rows.flatMap((row) =>
    runsOf(row).map(({ seed, summary }): ComparedRun => ({ scheme: row.name, seed, summary, baseline: row.baseline })),
  )
  const statistics = compareRuns(compared)
  return rows.map((row) => {
    const own = statistics.find(({ scheme }) => scheme === row.name)!
    // As the paper counts; where nothing has a cooldown that is the whole.
    const cost = own.withoutCooldown ?? { ...own, flopsPerStep: own.flopsPerStep.mean }
    const at288 = runsOf(row).map(({ folder }) => fine.get(folder))
    const known = at288.every((value) => value !== undefined)
    return {
      name: row.name,
      paper: row.paper,
      own: {
        top1: own.bestAverage?.mean ?? null,
        top1At288: known ? at288.reduce((sum, value) => sum + value, 0) / at288.length : null,
        flops: cost.flopsPerStep,
        theoretical: cost.speedupTheoretical,
        practical: own.speedupPractical,
        seconds: own.seconds.mean,
        schedules: [...new Set(runsOf(row).map(({ summary }) => scheduleOf(summary)))],
      },
    }
  })
}

/** A column of the paper's, its own figure and ours. */
interface Column {
  readonly key: keyof PaperFigures
  readonly head: string
  paper(figures: PaperFigures): string
  own(figures: OwnFigures): string
}

const signed = (value: number) => `${value < 0 ? '' : '+'}${value.toFixed(1)} %`
const ratios = (values: readonly number[]) => values.map((value) => Number(value.toFixed(2))).join(', ')
const scheduleOf = ({ stages }: Pick<Summary, 'stages'>) =>
  `l ${ratios(stages.map(({ l }) => l))}; n ${ratios(stages.map(({ n }) => n))}`

const columns: readonly Column[] = [
  {
    ...{ key: 'schedule', head: 'schedule' },
    paper: ({ schedule }) => `l ${ratios(schedule!.l)}; n ${ratios(schedule!.n)}`,
    own: ({ schedules }) => schedules.join(' / '),
  },
  { key: 'flops', head: 'MACs', paper: ({ flops }) => `${flops}G`, own: ({ flops }) => scaled(flops) },
  {
    ...{ key: 'theoretical', head: 'theoretical speed-up' },
    paper: ({ theoretical }) => signed(theoretical!),
    own: ({ theoretical }) => gain(theoretical),
  },
  { key: 'hours', head: 'time', paper: ({ hours }) => `${hours} GPU hours`, own: ({ seconds }) => duration(seconds) },
  {
    ...{ key: 'practical', head: 'speed-up' },
    paper: ({ practical }) => signed(practical!),
    own: ({ practical }) => gain(practical),
  },
  { key: 'top1', head: 'top-1', paper: ({ top1 }) => `${top1!.toFixed(1)} %`, own: ({ top1 }) => percent(top1) },
  {
    ...{ key: 'top1At288', head: 'top-1 at 288' },
    paper: ({ top1At288 }) => `${top1At288!.toFixed(1)} %`,
    own: ({ top1At288 }) => percent(top1At288),
  },
]

/** Markdown with two columns for each of the paper's: its figure, then ours. */
export function paperMarkdown(compared: readonly PaperComparison[]): string {
  const shown = columns.filter(({ key }) => compared.some(({ paper }) => paper[key] !== undefined))
  const head = ['', ...shown.flatMap(({ head: title }) => [`${title}, paper`, title])]
  const rows = compared.map(({ name, paper, own }) => [
    name,
    ...shown.flatMap((column) => [paper[column.key] === undefined ? '–' : column.paper(paper), column.own(own)]),
  ])
  return markdownTable(head, rows, 1)
}
