import type { ExecutionContext } from 'ava'
import { type ComparedRun, compareRuns, comparisonMarkdown } from '../../lib/report/comparison.js'
import type { Summary } from '../../lib/report/events.js'
import { test } from '../serial.js'
import { summary } from './fixtures.js'

function run(scheme: string, seed: number, of: Partial<Summary>): ComparedRun {
  return { scheme, seed, summary: summary({ scheme, seed, speedupTheoretical: 1, ...of }) }
}

const full = { flopsPerStep: 20e6, steps: 1000 }
const runs: ComparedRun[] = [
  run('original', 0, { ...full, seconds: 900, top1: 0.9, top1Ema: 0.89 }),
  run('autoprog', 0, { flopsPerStep: 10e6, steps: 1000, seconds: 500, top1: 0.88, top1Ema: 0.895 }),
  run('original-short', 0, { ...full, steps: 600, seconds: 540, epochs: 12, top1: 0.87, top1Ema: 0.86 }),
  run('original', 1, { ...full, seconds: 1000, top1: 0.91, top1Ema: 0.88 }),
  run('autoprog', 1, { flopsPerStep: 8e6, steps: 1000, seconds: 500, top1: 0.9, top1Ema: 0.905 }),
  run('original-short', 1, { ...full, steps: 500, seconds: 500, epochs: 10, top1: 0.88, top1Ema: 0.87 }),
]

function close(t: ExecutionContext, actual: number | null | undefined, wanted: number): void {
  t.true(typeof actual === 'number' && Math.abs(actual - wanted) < 1e-12, `${actual} is not ${wanted}`)
}

test('every scheme is compared with the original of the same seed', (t) => {
  const [original, autoprog, short] = compareRuns(runs)
  t.deepEqual([original?.scheme, autoprog?.scheme, short?.scheme], ['original', 'autoprog', 'original-short'])
  close(t, original?.speedupPractical, 1)
  close(t, original?.practicalShare, 1)
  close(t, autoprog?.speedupTheoretical, (2 + 2.5) / 2)
  close(t, autoprog?.speedupPractical, (1.8 + 2) / 2)
  close(t, autoprog?.practicalShare, 1.9 / 2.25)
  // A shorter run costs less in all, though as much a step.
  close(t, short?.speedupTheoretical, (1000 / 600 + 1000 / 500) / 2)
  close(t, short?.speedupPractical, (900 / 540 + 1000 / 500) / 2)
  close(t, short?.epochs, 11)
})

test('the best average counts, as in the paper, with its spread over the seeds; the weights stand beside it', (t) => {
  const [original, autoprog] = compareRuns(runs)
  close(t, original?.bestAverage?.mean, 0.885) // though the weights are better
  close(t, original?.weights?.mean, 0.905)
  close(t, autoprog?.bestAverage?.mean, 0.9)
  close(t, autoprog?.bestAverage?.deviation, Math.SQRT1_2 * 0.01) // two values 0.01 apart
  close(t, autoprog?.bestAverage?.min, 0.895)
  close(t, autoprog?.bestAverage?.max, 0.905)
  close(t, autoprog?.weights?.mean, 0.89)
})

test('a run may be measured against another row than original', (t) => {
  const named = runs.map((run) => ({ ...run, scheme: `D1 ${run.scheme}`, baseline: 'D1 original' }))
  const plain = compareRuns(runs)
  for (const [index, row] of compareRuns(named).entries())
    t.deepEqual(row, { ...plain[index]!, scheme: `D1 ${plain[index]!.scheme}` })
  t.is(compareRuns(named.map((run) => ({ ...run, baseline: 'none' })))[0]?.speedupPractical, null)
})

test('where runs have a cooldown, cost is also told without it, as the paper counts', (t) => {
  t.is(compareRuns(runs)[0]?.withoutCooldown, null)
  const cooled = (scheme: string, average: number): ComparedRun =>
    run(scheme, 0, {
      ...{ steps: 1100, flopsPerStep: (1000 * average + 100 * 20e6) / 1100 },
      withoutCooldown: { steps: 1000, flopsPerStep: average, speedupTheoretical: 20e6 / average },
    })
  const [original, prog] = compareRuns([cooled('original', 20e6), cooled('prog', 10e6)])
  close(t, original?.withoutCooldown?.speedupTheoretical, 1)
  close(t, prog?.withoutCooldown?.flopsPerStep, 10e6)
  close(t, prog?.withoutCooldown?.speedupTheoretical, 2)
  close(t, prog?.speedupTheoretical, 22 / 12)
  t.regex(
    comparisonMarkdown([original!, prog!]),
    /\| MACs without cooldown \| theoretical \|\n[\s\S]*\| 10M \| 2\.00x \|$/,
  )
})

test('one seed has no spread; no original, no speed-up; an unknown accuracy is not averaged away', (t) => {
  const [alone] = compareRuns([run('autoprog', 0, {})])
  t.is(alone?.seconds.deviation, null)
  t.is(alone?.speedupTheoretical, null)
  t.is(alone?.practicalShare, null)
  const [partly] = compareRuns([runs[0]!, run('original', 7, { top1: null, top1Ema: null })])
  t.is(partly?.bestAverage, null)
  const other = compareRuns([runs[0]!, runs[1]!, run('autoprog', 7, {})])[1]
  t.is(other?.speedupPractical, null)
})

test('the Markdown table reads like the paper', (t) => {
  t.is(
    comparisonMarkdown(compareRuns(runs)),
    `| scheme | epochs | best average | weights | average MACs | time | theoretical | practical | practical / theoretical |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| original | 20 | 88.50 % ± 0.71 | 90.50 % ± 0.71 | 20M | 15 min 50 s | 1.00x | 1.00x | 1.00 |
| autoprog | 20 | 90.00 % ± 0.71 | 89.00 % ± 1.41 | 9M | 8 min 20 s | 2.25x | 1.90x | 0.84 |
| original-short | 11 | 86.50 % ± 0.71 | 87.50 % ± 0.71 | 20M | 8 min 40 s | 1.83x | 1.83x | 1.00 |`,
  )
})
