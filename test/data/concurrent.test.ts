import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { forEachConcurrently, unlessAborted } from '../../lib/data/concurrent.js'

test('everything is done once, begun in order, never more than the limit at a time', async () => {
  const begun: number[] = []
  let running = 0
  let most = 0
  await forEachConcurrently(20, 3, async (index) => {
    begun.push(index)
    most = Math.max(most, ++running)
    await setTimeout(index % 3)
    running -= 1
  })
  assert.deepEqual(begun, [...Array(20).keys()])
  assert.equal(most, 3)
})

test('after a failure nothing is begun and what runs has ended', async () => {
  let running = 0
  const begun: number[] = []
  const failing = forEachConcurrently(100, 4, async (index) => {
    begun.push(index)
    running += 1
    await setTimeout(index === 2 ? 1 : 5)
    running -= 1
    if (index === 2) throw new Error('two')
  })
  await assert.rejects(failing, /two/)
  assert.equal(running, 0)
  assert.ok(begun.length <= 8, `${begun.length} were begun`)
})

test('an abort ends the wait at once and leaves no listener behind', async () => {
  const controller = new AbortController()
  assert.equal(await unlessAborted(Promise.resolve(1), controller.signal), 1)
  await assert.rejects(unlessAborted(Promise.reject(new Error('own')), controller.signal), /own/)
  await setTimeout(0)
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0)
  const never = unlessAborted(new Promise(() => {}), controller.signal)
  controller.abort(new Error('enough'))
  await assert.rejects(never, /enough/)
  await assert.rejects(unlessAborted(new Promise(() => {}), controller.signal), /enough/)
})
