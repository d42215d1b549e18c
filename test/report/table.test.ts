import { compareRuns, comparisonTable } from '../../lib/report/comparison.js'
import { columnsOf } from '../../lib/report/fit.js'
import { table } from '../../lib/report/table.js'
import { plain } from '../../lib/report/terminal.js'
import { test } from '../serial.js'
import { summary } from './fixtures.js'

test('a head is broken between words before anything else', (t) => {
  t.is(
    table(['name', 'mean cost'], [['a', '1']], 1, { width: 16 }),
    `┌──────┬──────┐
│ name │ mean │
│      │ cost │
├──────┼──────┤
│ a    │    1 │
└──────┴──────┘`,
  )
})

test('then long words', (t) => {
  const rows = [
    ['cuda', 'none: there is no compiler for it on this machine'],
    ['cpu', 'found'],
  ]
  t.is(
    table(['what', 'found'], rows, 2, { width: 40 }),
    `┌──────┬────────────────────────────┐
│ what │ found                      │
├──────┼────────────────────────────┤
│ cuda │ none: there is no compiler │
│      │ for it on this machine     │
│ cpu  │ found                      │
└──────┴────────────────────────────┘`,
  )
})

test('then figures go into tables below each other, each with what its rows are', (t) => {
  const drawn = table(['name', 'one', 'two', 'three'], [['a', '11111', '22222', '33333']], 1, { width: 24 })
  t.true(columnsOf(drawn) <= 24, drawn)
  t.is(drawn.match(/│ name │/g)?.length, 2)
  for (const figure of ['11111', '22222', '33333']) t.is(drawn.split(figure).length, 2, drawn)
})

const runs = ['original', 'autoprog', 'original-short'].flatMap((scheme) =>
  [0, 1, 2].map((seed) => ({
    scheme,
    seed,
    summary: summary({
      seconds: 700 + 50 * seed,
      top1: 0.5 + seed / 100,
      top1Ema: scheme === 'autoprog' ? 0.91 : 0.9 - seed / 100,
    }),
  })),
)
const statistics = compareRuns(runs)

for (const width of [60, 80, 100]) {
  test(`a comparison fits ${width} columns, with all its figures`, (t) => {
    const drawn = comparisonTable(statistics, { width, colors: false })
    t.true(columnsOf(drawn) <= width, drawn)
    const figures = (text: string) => [...new Set(text.match(/[\d.]+ ?[%xM]|± [\d.]+|original-short/g))].sort()
    t.deepEqual(figures(drawn), figures(comparisonTable(statistics, plain)))
  })
}

test('the best average alone is coloured', (t) => {
  const drawn = comparisonTable(statistics, { width: 200, colors: true })
  const coloured = drawn.split('\x1b[').filter((piece) => piece.startsWith('32m'))
  t.deepEqual(
    coloured.map((piece) => piece.trim()),
    ['32m91.00 % ± 0.00'],
  )
})
