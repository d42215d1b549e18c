import { getEventListeners } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { type PrefetchOptions, prefetch } from '../../lib/data/prefetch.js'
import { test } from '../serial.js'

const options = (given: Partial<PrefetchOptions<number>>): PrefetchOptions<number> => ({
  first: 0,
  count: 5,
  ahead: 2,
  together: 1,
  signal: undefined,
  produce: async (step) => step,
  ...given,
})

test('items come in order from the first step on, as many as asked for', async (t) => {
  for (const ahead of [0, 1, 2, 9]) {
    const items: number[] = []
    for await (const { item } of prefetch(options({ first: 7, ahead }))) items.push(item)
    t.deepEqual(items, [7, 8, 9, 10, 11], `${ahead} ahead`)
  }
  for await (const _ of prefetch(options({ count: 0 }))) t.fail('there is nothing')
})

test('the next two are prepared while the consumer works, one at a time', async (t) => {
  const begun: number[] = []
  let running = 0
  const produce = async (step: number) => {
    begun.push(step)
    t.is(++running, 1)
    await setTimeout(40)
    running -= 1
    return step
  }
  const items = prefetch(options({ count: Number.POSITIVE_INFINITY, produce }))
  const first = (await items.next()).value!
  t.is(first.item, 0)
  t.true(first.waited > 0.03, 'the first had to be waited for')
  await setTimeout(200)
  t.deepEqual(begun, [0, 1, 2], 'two and no more')
  const second = (await items.next()).value!
  t.true(second.waited < 0.03, `the second was ready, but took ${second.waited} s`)
  await items.return()
})

test('as many are produced at once as is said, and come in order', async (t) => {
  let [running, most] = [0, 0]
  const produce = async (step: number) => {
    most = Math.max(most, ++running)
    await setTimeout(step % 2 === 0 ? 30 : 5) // later ones end earlier
    running -= 1
    return step
  }
  const items: number[] = []
  for await (const { item } of prefetch(options({ count: 9, ahead: 4, together: 2, produce }))) items.push(item)
  t.deepEqual(items, [0, 1, 2, 3, 4, 5, 6, 7, 8])
  t.is(most, 2)
})

test('leaving stops production, and it has ended when leaving is done', async (t) => {
  const controller = new AbortController()
  let running = 0
  let made = 0
  const produce = async (step: number) => {
    running += 1
    await setTimeout(3)
    running -= 1
    made += 1
    return step
  }
  const endless = options({ count: Number.POSITIVE_INFINITY, produce, signal: controller.signal })
  for await (const { item } of prefetch(endless)) if (item === 2) break
  t.is(running, 0)
  const before = made
  await setTimeout(20)
  t.is(made, before)
  t.is(getEventListeners(controller.signal, 'abort').length, 0)
})

test('a failure comes when its item is due, and not to anyone who has left', async (t) => {
  const produce = async (step: number) => {
    if (step === 2) throw new Error('step two')
    return step
  }
  const items: number[] = []
  await t.throwsAsync(
    async () => {
      for await (const { item } of prefetch(options({ produce }))) items.push(item)
    },
    { message: /step two/ },
  )
  t.deepEqual(items, [0, 1])
  for await (const { item } of prefetch(options({ produce }))) if (item === 1) break
  await setTimeout(5) // an unhandled rejection would fail this file
})

test('an abort throws its reason, also while the consumer waits, and reaches the producer', async (t) => {
  const controller = new AbortController()
  let stopped = false
  let begin = () => {}
  const begun = new Promise<void>((resolve) => {
    begin = resolve
  })
  const produce = (step: number, signal: AbortSignal) =>
    new Promise<number>((resolve, reject) => {
      if (step < 1) return resolve(step)
      begin()
      signal.addEventListener('abort', () => {
        stopped = true
        reject(signal.reason)
      })
    })
  const reason = new Error('interrupted')
  const items = prefetch(options({ produce, signal: controller.signal }))
  await items.next()
  const waiting = items.next()
  await begun
  controller.abort(reason)
  await t.throwsAsync(waiting, { is: reason })
  t.true(stopped)
  t.deepEqual(await items.next(), { value: undefined, done: true })
  await t.throwsAsync(prefetch(options({ signal: controller.signal })).next(), { is: reason })
})

test('an abort between two items is noticed at the next', async (t) => {
  const controller = new AbortController()
  await t.throwsAsync(
    async () => {
      for await (const _ of prefetch(options({ signal: controller.signal }))) controller.abort(new Error('between'))
    },
    { message: /between/ },
  )
})
