import { getEventListeners } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { forEachConcurrently, unlessAborted } from '../../lib/data/concurrent.js'
import { test } from '../serial.js'

test('everything is done once, begun in order, never more than the limit at a time', async (t) => {
  const begun: number[] = []
  let running = 0
  let most = 0
  await forEachConcurrently(20, 3, async (index) => {
    begun.push(index)
    most = Math.max(most, ++running)
    await setTimeout(index % 3)
    running -= 1
  })
  t.deepEqual(begun, [...Array(20).keys()])
  t.is(most, 3)
})

test('after a failure nothing is begun and what runs has ended', async (t) => {
  let running = 0
  const begun: number[] = []
  const failing = forEachConcurrently(100, 4, async (index) => {
    begun.push(index)
    running += 1
    await setTimeout(index === 2 ? 1 : 5)
    running -= 1
    if (index === 2) throw new Error('two')
  })
  await t.throwsAsync(failing, { message: /two/ })
  t.is(running, 0)
  t.true(begun.length <= 8, `${begun.length} were begun`)
})

test('an abort ends the wait at once and leaves no listener behind', async (t) => {
  const controller = new AbortController()
  t.is(await unlessAborted(Promise.resolve(1), controller.signal), 1)
  await t.throwsAsync(unlessAborted(Promise.reject(new Error('own')), controller.signal), { message: /own/ })
  await setTimeout(0)
  t.is(getEventListeners(controller.signal, 'abort').length, 0)
  const never = unlessAborted(new Promise(() => {}), controller.signal)
  controller.abort(new Error('enough'))
  await t.throwsAsync(never, { message: /enough/ })
  await t.throwsAsync(unlessAborted(new Promise(() => {}), controller.signal), { message: /enough/ })
})
