import { createProgress } from '../../lib/report/progress.js'
import type { Output } from '../../lib/report/terminal.js'
import { test } from '../serial.js'
import { epoch, stage, start, step } from './fixtures.js'
import { Screen } from './screen.js'

/** A file that is written to. */
function paper() {
  let text = ''
  const write = (chunk: string) => {
    text += chunk
    return true
  }
  return { stream: { write } as unknown as Output, lines: () => text.split('\n').slice(0, -1) }
}

test('without a terminal, steps are plain lines at most every five seconds', (t) => {
  const { stream, lines } = paper()
  let time = 0
  const progress = createProgress({ stream, now: () => time })
  progress.show(start)
  progress.show(stage)
  const before = lines().length
  for (let index = 0; index < 100; index++) {
    progress.show(step(index))
    time += 0.125
  }
  const steps = lines().slice(before)
  t.is(steps.length, 3) // at 0, 5 and 10 s
  // Steps of 0.1 s at 4/8 layers and (32/56)^2 of the tokens cost 0.1633 of the full network's: it takes 0.6125 s.
  // The 959 steps left are taken to cost (0.1 + 0.6125) / 2 s each: 342 s.
  t.is(
    steps[1],
    'step 41/1000 · stage 1/4 train · 4 layers, 32 px · 1,280 images/s · loss 1.500 · lr 9.13e-4 · 5 min 42 s left',
  )
  progress.show(epoch)
  t.regex(lines().at(-1) ?? '', /^epoch 1 · /)
  progress.close()
  progress.close()
})

test('in the last stage the time left goes on at the same pace', (t) => {
  const { stream, lines } = paper()
  const progress = createProgress({ stream, now: () => 0 })
  progress.show({ ...stage, stage: 4 })
  progress.show(step(899, { stage: 4 }))
  t.regex(lines().at(-1) ?? '', /step 900\/1000 · stage 4\/4 .* 10 s left$/)
})

for (const width of [40, 60, 80, 100, 200]) {
  test(`on a terminal of ${width} columns a bar of one row stands below the lines, with loss and time left, and is gone at the end`, (t) => {
    const screen = new Screen(width)
    let time = 0
    const progress = createProgress({ stream: screen.stream(), now: () => time++ })
    progress.show(stage)
    progress.show(step(0, { waited: 0.01 }))
    const above = screen.lines().length - 1
    progress.show(step(499, { waited: 0.01 }))
    t.is(screen.lines().length, above + 1)
    t.regex(screen.lines().at(-1)!, /loss 1\.500 · .*min \d\d s left$/)
    if (width >= 60) t.regex(screen.lines().at(-1)!, /^█+░+ 50 % · /)
    if (width >= 80) t.regex(screen.lines().at(-1)!, / · stage 1\/4 train · /)
    progress.show(epoch)
    t.regex(screen.lines()[above]!, /^epoch 1 · /)
    t.is(screen.lines().at(-1), '')
    progress.show(step(500))
    t.regex(screen.lines().at(-1)!, /left$/)
    progress.close()
    progress.close()
    t.is(screen.lines().at(-1), '')
    t.notRegex(screen.lines().join('\n'), /█/)
  })
}

test('one of several runs tells the time left for all, and no notice twice', (t) => {
  const notices = new Set<string>()
  const notice = (message: string) => ({ type: 'notice', message }) as const
  const { stream, lines } = paper()
  let time = 0
  const around = { run: 2, runs: 6, secondsAfter: (seconds: number) => 4 * seconds, notices }
  const first = createProgress({ stream, around, now: () => time })
  first.show({ ...stage, stage: 4 })
  time = 60
  first.show(step(399, { stage: 4 }))
  // 600 steps of 0.1 s are left of this run, which will have taken 120 s; four like it follow.
  t.regex(lines().at(-1)!, /^run 2\/6, 9 min 00 s in all · step 400\/1000 · .* · 1 min 00 s left$/)
  first.show(notice('waited for data 12.5 % of the time'))
  const second = createProgress({ stream, around: { ...around, run: 3 } })
  const before = lines().length
  second.show(notice('waited for data 9.1 % of the time'))
  t.is(lines().length, before)
  second.show(notice('another thing'))
  t.is(lines().at(-1), 'note: another thing')
})
