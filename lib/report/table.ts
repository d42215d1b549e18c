/** Tables for the terminal, without colours, so that they read alike in a file. */
import Table from 'cli-table3'
import type { SearchEvent, StageSummary } from './events.js'
import { duration, integer, scaled, small } from './format.js'

/** A table with a head and rows of equal width; the first `left` columns are words, the others figures. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], left = 0): string {
  const drawn = new Table({
    head: [...head],
    colAligns: head.map((_, column) => (column < left ? 'left' : 'right')),
    style: { head: [], border: [], compact: true },
  })
  drawn.push(...rows.map((row) => [...row]))
  return drawn.toString()
}

/** The same as GitHub's Markdown. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[], left = 0): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map((_, column) => (column < left ? '---' : '---:'))), ...rows.map(line)].join('\n')
}

/** What a stage's search saw: loss, time of a step and score of every candidate, the chosen one marked. */
export function candidatesTable({ candidates, chosen }: SearchEvent): string {
  const rows = candidates.map((candidate, index) => [
    String(candidate.depth),
    String(candidate.resolution),
    scaled(candidate.flops),
    candidate.loss.toFixed(4),
    `${(1000 * candidate.seconds).toFixed(1)} ms`,
    candidate.score.toPrecision(4),
    index === chosen ? 'chosen' : '',
  ])
  return table(['layers', 'pixels', 'MACs', 'loss', 'time', 'score', ''], rows)
}

/** The schedule that a run went through. */
export function stagesTable(stages: readonly StageSummary[]): string {
  const rows = stages.map((stage) => [
    String(stage.stage),
    String(stage.depth),
    String(stage.resolution),
    `${small(stage.l)}, ${small(stage.n)}`,
    integer(stage.steps),
    integer(stage.searchSteps),
    scaled(stage.flopsPerStep),
    duration(stage.seconds),
    duration(stage.searchSeconds),
  ])
  const head = ['stage', 'layers', 'pixels', 'l, n', 'steps', 'searching', 'mean MACs', 'time', 'searching']
  return table(head, rows)
}
