import { columnsOf, fitParts, wrap } from '../../lib/report/fit.js'
import { test } from '../serial.js'

test('parts are left out from the least important on, those of rank 0 never', (t) => {
  const parts = [
    { rank: 1, text: 'step 3' },
    { rank: 0, text: 'loss 1' },
    { rank: 2, text: 'fast' },
  ]
  t.is(fitParts(parts, 22), 'step 3 · loss 1 · fast')
  t.is(fitParts(parts, 21), 'step 3 · loss 1')
  t.is(fitParts(parts, 14), 'loss 1')
  t.is(fitParts(parts, 3), 'loss 1')
})

test('lines are broken between parts, else between words, never within one or before a unit', (t) => {
  t.is(wrap('one two · three four · five', 24), 'one two · three four\n  five')
  t.is(wrap('note: of 60 images 12.50 % are held out', 21), 'note: of 60 images\n  12.50 % are held\n  out')
  t.is(wrap('took 7 min 02 s (of 1 h)', 12), 'took\n  7 min 02 s\n  (of 1 h)')
  t.is(wrap('wrote /a/long/path/to/a/file', 10), 'wrote\n  /a/long/path/to/a/file', 'a path can be copied')
  t.is(wrap('  name: first second', 14, 4), '  name: first\n    second')
  t.is(wrap('a  table   of spaces', 40), 'a  table   of spaces')
  t.is(wrap('short\nsomewhat longer', 10), 'short\nsomewhat\n  longer')
})

test('colours take no room', (t) => {
  t.is(columnsOf('\x1b[31mred\x1b[39m\nblue'), 4)
  t.is(wrap('\x1b[31merror\x1b[39m one', 9), '\x1b[31merror\x1b[39m one')
})
