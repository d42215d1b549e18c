import { addon } from '../../lib/native.js'
import { definedOps } from '../../lib/ops/index.js'
import { openTestDevice } from '../device.js'
import { test } from '../serial.js'

const device = await openTestDevice()
test.after.always(() => device.close())

test('every op is declared alike in TypeScript and in the addon', (t) => {
  const ours = definedOps().map(({ name, attributes }) => [name, [...attributes].sort()])
  const theirs = addon()
    .operations(device.handle)
    .map(({ name, attributes }) => [name, [...attributes].sort()])
  t.deepEqual(Object.fromEntries(theirs), Object.fromEntries(ours))
})
