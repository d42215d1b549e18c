import type { ExecutionContext } from 'ava'
import { fitPower, scoreCandidates } from '../../lib/growth/objective.js'
import { assertClose, goldenJson } from '../golden.js'
import { test } from '../serial.js'

const { rows } = await goldenJson<{
  rows: { times: number[]; losses: number[]; a1: number; a2: number; w: number; scores: number[]; winner: number }[]
}>('search_objective')

const close = (t: ExecutionContext, actual: number, wanted: number, relative: number, what: string) =>
  t.true(Math.abs(actual - wanted) <= relative * Math.abs(wanted), `${what}: ${actual} instead of ${wanted}`)

test('fit, scores and winner of every table', (t) => {
  t.is(rows.length, 10)
  for (const [index, row] of rows.entries()) {
    const { a1, a2, exponent, scores, best } = scoreCandidates(row.losses, row.times)
    close(t, a1, row.a1, 1e-5, `a1 of row ${index}`)
    close(t, a2, row.a2, 1e-5, `a2 of row ${index}`)
    close(t, exponent, row.w, 1e-5, `w of row ${index}`)
    assertClose(t, scores, row.scores, 1e-6, `scores of row ${index}`)
    t.is(best, row.winner, `row ${index}`)
  }
})

test('the fit is a minimum of the squared error of the losses', (t) => {
  for (const { times, losses } of rows) {
    const cost = (p1: number, p2: number) =>
      losses.reduce((sum, loss, i) => sum + (loss - p2 * times[i]! ** p1) ** 2, 0)
    const { a1, a2 } = fitPower(losses, times)
    for (const [d1, d2] of [
      [1e-4, 0],
      [-1e-4, 0],
      [0, 1e-4],
      [0, -1e-4],
    ] as const)
      t.true(cost(a1 + d1, a2 + d2) > cost(a1, a2))
  }
})

test('the unit of time changes neither exponent nor order', (t) => {
  for (const { times, losses, winner } of rows)
    for (const unit of [1e-6, 1e3, 1e12]) {
      const scaled = scoreCandidates(
        losses,
        times.map((time) => time * unit),
      )
      t.is(scaled.best, winner)
      // The cost is flat at its minimum: half of the digits of a double settle the exponent.
      close(t, scaled.exponent, scoreCandidates(losses, times).exponent, 1e-7, 'exponent')
    }
})

test('a law that holds exactly is found, steep ones too', (t) => {
  const times = [0.02, 0.05, 0.11, 0.3, 0.9]
  for (const [a1, a2] of [
    [-0.3, 1.7],
    [-1.5, 0.2],
    [0.4, 3],
    [0, 2],
  ] as const) {
    const fit = fitPower(
      times.map((time) => a2 * time ** a1),
      times,
    )
    t.true(Math.abs(fit.a1 - a1) < 1e-9, `a1 ${fit.a1} instead of ${a1}`)
    t.true(Math.abs(fit.a2 - a2) < 1e-9, `a2 ${fit.a2} instead of ${a2}`)
  }
})

test('where time does not count, of equal losses the faster wins', (t) => {
  const { best, exponent } = scoreCandidates([1.5, 1.5, 1.5], [3, 1, 2])
  t.deepEqual([exponent, best], [0, 1])
})

test('alike times leave the losses to decide, and of equals the first wins', (t) => {
  t.deepEqual(scoreCandidates([3, 1, 2], [5, 5, 5]), { a1: 0, a2: 2, exponent: 0, scores: [3, 1, 2], best: 1 })
  t.is(scoreCandidates([2], [7]).best, 0)
  t.is(scoreCandidates([1, 1], [3, 3]).best, 0)
})

test('of two, the slower wins if its loss is lower, and loses if it is higher', (t) => {
  for (const [slow, fast] of [
    [2, 1],
    [0.0571, 0.0329],
    [13.7, 13.2],
  ] as const) {
    t.is(scoreCandidates([0.5, 0.49], [fast, slow]).best, 1)
    t.is(scoreCandidates([0.49, 0.5], [slow, fast]).best, 0)
    t.is(scoreCandidates([0.49, 0.5], [fast, slow]).best, 0)
  }
})

test('what cannot be scored', (t) => {
  t.throws(() => fitPower([], []), { code: 'CONFIG' })
  t.throws(() => fitPower([1, 2], [1]), { code: 'CONFIG' })
  for (const loss of [Number.NaN, Number.POSITIVE_INFINITY])
    t.throws(() => fitPower([1, loss], [1, 2]), { code: 'NUMERIC', message: /loss/ })
  for (const time of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
    t.throws(() => fitPower([1, 2], [1, time]), { code: 'NUMERIC', message: /positive time/ })
})
