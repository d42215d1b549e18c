import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Purpose, permutation, philox, toInteger, toUnit } from '../lib/random.js'

test("Philox gives the known answers of its authors' library (Random123, philox4x32-10)", () => {
  const f = 0xffffffff
  assert.deepEqual(philox([0, 0, 0, 0], [0, 0]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8])
  assert.deepEqual(philox([f, f, f, f], [f, f]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd])
  assert.deepEqual(
    philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  )
})

test('words become numbers within their ranges', () => {
  assert.equal(toUnit(0), 0)
  assert.ok(toUnit(0xffffffff) < 1)
  assert.equal(toInteger(0, 10), 0)
  assert.equal(toInteger(0xffffffff, 10), 9)
})

test('permutations hold every index once and differ by address', () => {
  const order = permutation(1000, 1, Purpose.order, 0)
  assert.deepEqual(
    [...order].sort((a, b) => a - b),
    Array.from({ length: 1000 }, (_, index) => index),
  )
  assert.deepEqual(permutation(1000, 1, Purpose.order, 0), order)
  assert.notDeepEqual(permutation(1000, 1, Purpose.order, 1), order)
  assert.notDeepEqual(permutation(1000, 2, Purpose.order, 0), order)
  assert.deepEqual([...permutation(0, 1, Purpose.order, 0)], [])
})
