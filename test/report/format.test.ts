import { duration, integer, percent, scaled, small, times } from '../../lib/report/format.js'
import { test } from '../serial.js'

test('durations roll over where a person expects it', (t) => {
  const cases: [number, string][] = [
    [0, '0.0 s'],
    [9.94, '9.9 s'],
    [9.96, '10 s'],
    [59.4, '59 s'],
    [59.6, '1 min 00 s'],
    [3599.4, '59 min 59 s'],
    [3599.6, '1 h 00 min'],
    [7620, '2 h 07 min'],
    [200_000, '55 h 33 min'],
  ]
  for (const [seconds, text] of cases) t.is(duration(seconds), text)
})

test('figures keep three digits and a prefix', (t) => {
  const cases: [number, string][] = [
    [0, '0'],
    [999, '999'],
    [999.6, '1k'],
    [1_258_000_000, '1.26G'],
    [999_600, '1M'],
    [407_210, '407k'],
  ]
  for (const [value, text] of cases) t.is(scaled(value), text)
})

test('unknown figures are dashes', (t) => {
  t.is(percent(null), '–')
  t.is(times(null), '–')
  t.is(percent(0.87314), '87.31 %')
  t.is(times(1.8549), '1.85x')
})

test('small numbers keep their digits', (t) => {
  t.is(small(0.00091234), '9.12e-4')
  t.is(small(0), '0.000')
  t.is(small(Number.NaN), 'NaN')
  t.is(integer(1234567.4), '1,234,567')
})
