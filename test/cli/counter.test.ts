import type { ExecutionContext } from 'ava'
import { createCounter } from '../../lib/cli/counter.js'
import { test } from '../serial.js'

function stream(isTTY: boolean) {
  const written: string[] = []
  return { written, stream: { isTTY, write: (text: string) => written.push(text) } as unknown as NodeJS.WriteStream }
}

/** Replaces the clock for one test. */
function useClock(t: ExecutionContext, now: () => number): void {
  const real = performance.now
  performance.now = now
  t.teardown(() => {
    performance.now = real
  })
}

test('a counter shows long work now and then, and each piece of work by itself', (t) => {
  let now = 1e6
  useClock(t, () => now)
  const { written, stream: log } = stream(false)
  const counter = createCounter(log, 'evaluating', 'image')
  const work = (seconds: number) => {
    for (let second = 0; second <= seconds; second++) {
      counter.show(100 * (second + 1), 5000, second === 5 ? 'half' : undefined)
      now += 1000
    }
    counter.clear()
    counter.clear()
  }
  work(4)
  t.deepEqual(written, [])
  now += 60_000
  work(10)
  t.deepEqual(written, [
    'evaluating 600 of 5,000 images · half · 100 a second\n',
    'evaluating 1,100 of 5,000 images · 100 a second\n',
  ])
})

test('on a terminal the line is taken away, where there is one', (t) => {
  let now = 0
  useClock(t, () => now)
  const { written, stream: terminal } = stream(true)
  const counter = createCounter(terminal, 'reading', 'file')
  counter.show(1)
  counter.clear()
  t.deepEqual(written, [])
  counter.show(1)
  now += 200
  counter.show(3, undefined, '1 broken')
  counter.clear()
  counter.clear()
  t.deepEqual(written, ['\r\x1b[Kreading 3 files · 1 broken · 10 a second\r', '\r\x1b[K'])
})
