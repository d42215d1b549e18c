import type { ExecutionContext } from 'ava'
import { columnsOf } from '../../lib/report/fit.js'
import { barText, eventText, summaryText } from '../../lib/report/text.js'
import { test } from '../serial.js'
import { epoch, search, stage, start, step, summary } from './fixtures.js'

test('the start says what runs, on what, for how long', (t) => {
  t.is(
    eventText(start),
    `autoprog by mogrow · vit_fashion (407k parameters, 22.4M multiply-adds an image)
fashion-mnist: 60,000 training images, 10,000 held out, 10 classes
20 epochs of 468 steps, batch 128 · cpu, 2 threads, fp32`,
  )
  t.regex(eventText({ ...start, resumedFrom: 1404 }) ?? '', /threads, fp32 · resumed at step 1,404$/)
})

test('a stage says what it searches or trains', (t) => {
  t.is(eventText(stage), 'stage 1/4 · search among 2 up to 8 layers, 56 px · micro-batch 64')
  const training = { ...stage, phase: 'train' as const, candidates: [], subnetwork: stage.candidates[0]! }
  t.is(eventText(training), 'stage 1/4 · train 4 layers, 32 px · micro-batch 64')
  const grown = { ...training, stage: 2, operator: 'stacking' }
  t.is(eventText(grown), 'stage 2/4 · train 4 layers, 32 px · grown by stacking · micro-batch 64')
})

test('the end of a search shows every candidate and marks the chosen one', (t) => {
  t.is(
    eventText(search),
    `┌────────┬────────┬───────┬────────┬──────────┬────────┬────────┐
│ layers │ pixels │  MACs │   loss │     time │  score │        │
├────────┼────────┼───────┼────────┼──────────┼────────┼────────┤
│      4 │     32 │  4.1M │ 1.2500 │  20.4 ms │ 0.5800 │ chosen │
│      8 │     56 │ 22.4M │ 1.1000 │ 120.3 ms │ 0.7891 │        │
└────────┴────────┴───────┴────────┴──────────┴────────┴────────┘
stage 1: score = loss x time^0.200, lowest wins`,
  )
})

test('an epoch names the images that it was evaluated on', (t) => {
  t.regex(eventText({ ...epoch, evaluatedOn: 'validation' })!, / · validation loss 0\.500 · top-1 81\.23 % · /)
  t.regex(eventText({ ...epoch, evaluatedOn: 'test' })!, / · held-out loss 0\.500 · /)
})

test('an epoch is one line; without an evaluation it claims none', (t) => {
  t.is(
    eventText(epoch),
    'epoch 1 · 4 layers, 32 px · train loss 1.234 · held-out loss 0.500 · top-1 81.23 % · best average 83.01 % (0.99) · lr 1.00e-3 · 1,243 images/s · 48 s',
  )
  t.is(
    eventText({ ...epoch, top1: null, top5: null, testLoss: null, emas: [] }),
    'epoch 1 · 4 layers, 32 px · train loss 1.234 · lr 1.00e-3 · 1,243 images/s · 48 s',
  )
})

test('steps and checkpoints have no line, notices do', (t) => {
  t.is(eventText(step(0)), undefined)
  t.is(eventText({ type: 'checkpoint', path: 'x', step: 1 }), undefined)
  t.is(eventText({ type: 'notice', message: '2 records dropped' }), 'note: 2 records dropped')
})

test('the summary shows schedule, accuracy, time, cost and speed-ups', (t) => {
  t.is(
    eventText({ type: 'end', summary: summary({ speedupPractical: 1.85 }) }),
    `
autoprog · vit_fashion · fashion-mnist · seed 0 · 20 epochs
┌───────┬────────┬────────┬──────────────┬───────┬──────────────┬───────────┬────────────┬─────────────┐
│ stage │ layers │ pixels │         l, n │ steps │ search steps │ mean MACs │       time │ search time │
├───────┼────────┼────────┼──────────────┼───────┼──────────────┼───────────┼────────────┼─────────────┤
│     1 │      4 │     32 │ 0.500, 0.571 │ 2,340 │          187 │      4.1M │ 1 min 01 s │       9.5 s │
│     2 │      8 │     56 │ 1.000, 1.000 │ 7,020 │            0 │     22.4M │ 6 min 59 s │       0.0 s │
└───────┴────────┴────────┴──────────────┴───────┴──────────────┴───────────┴────────────┴─────────────┘
mean MACs count the search of a stage too, which tries other networks
top-1                weights 89.12 %, best average 89.34 % (decay 0.998, chosen by the held-out images)
training time        8 min 00 s (9 min 01 s with evaluation and checkpoints; waited for data 0.12 %)
average cost         11.2M multiply-adds an image and step, forward
theoretical speed-up 2.00x
practical speed-up   1.85x (92.50 % of the theoretical)`,
  )
})

test('a cooldown is counted, and left out as the paper leaves it out', (t) => {
  const withoutCooldown = { steps: 8000, flopsPerStep: 9_100_000, speedupTheoretical: 2.46 }
  const text = summaryText(summary({ withoutCooldown }))
  t.regex(text, /average cost +11\.2M multiply-adds .*; without the cooldown, as in the paper, 9\.1M\n/)
  t.regex(text, /theoretical speed-up 2\.00x; without the cooldown, as in the paper, 2\.46x\n/)
})

test('what is unknown in a summary is said to be', (t) => {
  const text = summaryText(summary({ top1: null, top1Ema: null, bestEmaDecay: null }))
  t.regex(text, /top-1 +weights –\n/)
  t.regex(text, /practical speed-up +unknown: give --baseline RUN/)
})

/** Words whole, figures beside their units, nothing lost, no line above the width. */
function fits(t: ExecutionContext, text: string, full: string, width: number): void {
  t.true(columnsOf(text) <= width, `${columnsOf(text)} columns of ${width}:\n${text}`)
  const words = (of: string) => [...new Set(of.match(/[\w,.%+-]+/g))].sort()
  t.deepEqual(words(text), words(full))
}

for (const width of [60, 80, 100]) {
  const look = { width, colors: false }
  test(`at ${width} columns everything is there, and whole`, (t) => {
    const notice = {
      type: 'notice',
      message: '8.90 % of the time was spent waiting for data. '.repeat(4).trim(),
    } as const
    for (const event of [start, stage, search, epoch, notice])
      fits(t, eventText(event, look)!, eventText(event)!, width)
    for (const index of [0, 120, 999])
      for (const waited of [0, 0.05]) {
        const pace = { stages: 4, imagesPerSecond: 12_345, secondsLeft: 45_000, waitShare: waited * 10 }
        for (const all of [undefined, { run: 12, runs: 24, secondsLeft: 400_000 }]) {
          const text = barText(step(index, { waited, loss: 123.4567 }), { ...pace, all }, width)
          t.true(columnsOf(text) <= width, text)
          t.regex(text, /loss 123\.457 · .*12 h 30 min left$/)
        }
      }
    const parts = { speedupPractical: 1.85, skippedSteps: 12, decodedPerSecond: 900, transformedPerSecond: 812 }
    const text = summaryText(summary(parts), look)
    t.true(columnsOf(text) <= width, text)
    for (const figure of ['4.1M', '22.4M', '6 min 59 s', '89.12 %', '0.12 %', '1.85x', '2,340', '187', '812 augmented'])
      t.true(text.includes(figure), `${figure} in\n${text}`)
  })
}

test('colours mark the chosen candidate and nothing else', (t) => {
  const text = eventText(search, { width: 80, colors: true })!
  const coloured = text.split('\n').filter((line) => line.includes('\x1b'))
  t.is(coloured.length, 1)
  t.regex(coloured[0]!, /chosen/)
})

test('what counts for nothing in a score is left out of it, and one is one', (t) => {
  t.regex(eventText({ ...search, exponent: 0 })!, /score = loss \(what takes longer has no lower one\), lowest wins$/)
  const text = eventText({ ...start, threads: 1, classes: 1, epochs: 1, trainImages: 1, stepsPerEpoch: 1 })!
  t.regex(text, /1 training image, 10,000 held out, 1 class\n1 epoch of 1 step, batch 128 · cpu, 1 thread, fp32/)
})
