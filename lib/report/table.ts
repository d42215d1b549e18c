/** Tables: boxes on a terminal, no wider than it is; Markdown in files. */
import Table from 'cli-table3'
import type { SearchEvent, StageSummary } from './events.js'
import { columnsOf, wrap } from './fit.js'
import { duration, integer, scaled, small } from './format.js'
import { type Look, paint, plain } from './terminal.js'

type Row = readonly string[]

/**
 * A table with a head and rows of equal width; the first `left` columns are words, the others figures. Where it is too wide its
 * heads are broken between words, then its longest words, and at last its columns go into several tables below each other.
 */
export function table(head: Row, rows: readonly Row[], left = 0, { width }: Pick<Look, 'width'> = plain): string {
  const broken = head.map((cell) => cell.replaceAll(' ', '\n'))
  const forms: (() => string)[] = [
    () => box(head, rows, left),
    () => box(broken, rows, left),
    () => box(broken, withWordsBroken(broken, rows, left, width), left),
  ]
  for (const form of forms) {
    const drawn = form()
    if (columnsOf(drawn) <= width) return drawn
  }
  return parted(broken, rows, left, width)
}

function box(head: Row, rows: readonly Row[], left: number): string {
  const drawn = new Table({
    head: [...head],
    colAligns: head.map((_, column) => (column < left ? 'left' : 'right')),
    style: { head: [], border: [], compact: true },
  })
  drawn.push(...rows.map((row) => [...row]))
  return drawn.toString()
}

/** The widest column of words in what the others leave of the width. */
function withWordsBroken(head: Row, rows: readonly Row[], left: number, width: number): readonly Row[] {
  const widths = head.map((cell, column) => Math.max(...[cell, ...rows.map((row) => row[column]!)].map(columnsOf)))
  const widest = widths.indexOf(Math.max(0, ...widths.slice(0, left)))
  const others = widths.reduce((sum, each, column) => sum + (column === widest ? 0 : each), 0)
  const room = width - others - 3 * head.length - 1 // a border and two spaces a column
  if (widest < 0 || room < 16) return rows
  return rows.map((row) => row.map((cell, column) => (column === widest ? wrap(cell, room, 0) : cell)))
}

/** Every part begins with the first column, which says what a row is. */
function parted(head: Row, rows: readonly Row[], left: number, width: number): string {
  let fitting = 2
  const first = (count: number) => [head, ...rows].map((row) => row.slice(0, count))
  const draw = (count: number) => box(first(count)[0]!, first(count).slice(1), left)
  while (fitting < head.length && columnsOf(draw(fitting + 1)) <= width) fitting++
  const part = draw(fitting)
  if (fitting >= head.length) return part
  const rest = (row: Row) => [row[0]!, ...row.slice(fitting)]
  return `${part}\n${parted(rest(head), rows.map(rest), Math.max(1, left - fitting + 1), width)}`
}

/** The same as GitHub's Markdown. */
export function markdownTable(head: Row, rows: readonly Row[], left = 0): string {
  const line = (cells: Row) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map((_, column) => (column < left ? '---' : '---:'))), ...rows.map(line)].join('\n')
}

/** What a stage's search saw: loss, time of a step and score of every candidate, the chosen one marked. */
export function candidatesTable({ candidates, chosen }: SearchEvent, look: Look = plain): string {
  const rows = candidates.map((candidate, index) => {
    const row = [
      String(candidate.depth),
      String(candidate.resolution),
      scaled(candidate.flops),
      candidate.loss.toFixed(4),
      `${(1000 * candidate.seconds).toFixed(1)} ms`,
      candidate.score.toPrecision(4),
      index === chosen ? 'chosen' : '',
    ]
    return index === chosen ? row.map((cell) => paint(look, 'green', cell)) : row
  })
  return table(['layers', 'pixels', 'MACs', 'loss', 'time', 'score', ''], rows, 0, look)
}

/** The schedule that a run went through; without the ratios, which the layers and pixels tell, where there is no room. */
export function stagesTable(stages: readonly StageSummary[], look: Look = plain): string {
  const ratios = 3
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
  const head = ['stage', 'layers', 'pixels', 'l, n', 'steps', 'search steps', 'mean MACs', 'time', 'search time']
  const full = table(head, rows)
  if (columnsOf(full) <= look.width) return full
  const without = (row: Row) => row.filter((_, column) => column !== ratios)
  return table(without(head), rows.map(without), 0, look)
}
