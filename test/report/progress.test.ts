import { Writable } from 'node:stream'
import { createProgress } from '../../lib/report/progress.js'
import { test } from '../serial.js'
import { epoch, stage, start, step } from './fixtures.js'

function paper() {
  let text = ''
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk)
      done()
    },
  })
  return { stream, lines: () => text.split('\n').slice(0, -1) }
}

test('without a terminal, steps are plain lines at most every interval', (t) => {
  const { stream, lines } = paper()
  let time = 0
  const progress = createProgress({ stream, bar: false, interval: 5, now: () => time })
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
  const progress = createProgress({ stream, bar: false, now: () => 0 })
  progress.show({ ...stage, stage: 4 })
  progress.show(step(899, { stage: 4 }))
  t.regex(lines().at(-1) ?? '', /step 900\/1000 · stage 4\/4 .* 10 s left$/)
})

test('on a terminal a bar stands below the lines and is gone at the end', (t) => {
  const { stream, lines } = paper()
  const terminal = Object.assign(stream, { isTTY: true, columns: 200, cursorTo: () => true, clearLine: () => true })
  const progress = createProgress({ stream: terminal, bar: true })
  progress.show(stage)
  progress.show(step(0))
  progress.show(step(499))
  progress.show(epoch)
  progress.close()
  const text = lines().join('\n')
  t.regex(text, /█+░+ 50 % · step 500\/1000 · stage 1\/4/)
  t.regex(text, /epoch 1 · [^\n]*$/)
})
