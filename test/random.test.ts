import { Purpose, permutation, philox, toInteger, toUnit } from '../lib/random.js'
import { different, same } from './same.js'
import { test } from './serial.js'

test("Philox gives the known answers of its authors' library (Random123, philox4x32-10)", (t) => {
  const f = 0xffffffff
  t.deepEqual(philox([0, 0, 0, 0], [0, 0]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8])
  t.deepEqual(philox([f, f, f, f], [f, f]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd])
  t.deepEqual(
    philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  )
})

test('words become numbers within their ranges', (t) => {
  t.is(toUnit(0), 0)
  t.true(toUnit(0xffffffff) < 1)
  t.is(toInteger(0, 10), 0)
  t.is(toInteger(0xffffffff, 10), 9)
})

test('permutations hold every index once and differ by address', (t) => {
  const order = permutation(1000, 1, Purpose.order, 0)
  t.deepEqual(
    [...order].sort((a, b) => a - b),
    Array.from({ length: 1000 }, (_, index) => index),
  )
  same(t, permutation(1000, 1, Purpose.order, 0), order)
  different(t, permutation(1000, 1, Purpose.order, 1), order)
  different(t, permutation(1000, 2, Purpose.order, 0), order)
  t.deepEqual([...permutation(0, 1, Purpose.order, 0)], [])
})
