import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { addon } from '../../lib/native.js'
import { definedOps } from '../../lib/ops/index.js'
import { openTestDevice } from '../device.js'

const device = await openTestDevice()
after(() => device.close())

test('every op is declared alike in TypeScript and in the addon', () => {
  const ours = definedOps().map(({ name, attributes }) => [name, [...attributes].sort()])
  const theirs = addon()
    .operations(device.handle)
    .map(({ name, attributes }) => [name, [...attributes].sort()])
  assert.deepEqual(Object.fromEntries(theirs), Object.fromEntries(ours))
})
