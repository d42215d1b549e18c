import { setTimeout } from 'node:timers/promises'
import { gather } from '../../lib/inference/gather.js'
import { test } from '../serial.js'

/** Notes every batch that is computed; each is over when `release` says so. */
function recorder(options: { batch: number; maxWait: number }) {
  const batches: number[][] = []
  const releases: (() => void)[] = []
  const work = async (items: readonly number[]) => {
    batches.push([...items])
    await new Promise<void>((resolve) => releases.push(resolve))
    if (items.includes(13)) throw new Error('thirteen')
    return items.map((item) => 10 * item)
  }
  const release = async () => {
    await setTimeout(0)
    releases.shift()?.()
    await setTimeout(0)
  }
  return { batches, release, ...gather(work, options) }
}

test('what comes alone is computed at once, what comes meanwhile together', async (t) => {
  const { batches, release, compute } = recorder({ batch: 4, maxWait: 1e6 })
  const answers = [1, 2, 3, 4, 5, 6, 7].map(compute)
  t.deepEqual(batches, [[1]])
  await release()
  t.deepEqual(batches[1], [2, 3, 4, 5])
  await release()
  t.deepEqual(batches[2], [6, 7])
  await release()
  t.deepEqual(await Promise.all(answers), [10, 20, 30, 40, 50, 60, 70])
})

test('a batch waits for what is announced, until it is full, all are there, or the time is over', async (t) => {
  const { batches, release, compute, announce } = recorder({ batch: 3, maxWait: 1e6 })
  const [first, second] = [announce(), announce()]
  const one = compute(1)
  t.deepEqual(batches, [])
  first()
  first() // harmless when repeated
  t.deepEqual(batches, [])
  second()
  t.deepEqual(batches, [[1]])
  await release()
  announce()
  const more = [2, 3, 4].map(compute)
  t.deepEqual(batches[1], [2, 3, 4])
  await release()
  t.deepEqual(await Promise.all([one, ...more]), [10, 20, 30, 40])

  const hasty = recorder({ batch: 3, maxWait: 1 })
  hasty.announce()
  const alone = hasty.compute(5)
  while (hasty.batches.length === 0) await setTimeout(1)
  await hasty.release()
  t.is(await alone, 50)
})

test('a batch that fails fails for those in it alone', async (t) => {
  const { release, compute, drained } = recorder({ batch: 2, maxWait: 0 })
  const answers = [1, 12, 13, 2, 3].map(compute)
  for (const answer of answers) answer.catch(() => undefined)
  const over = drained()
  for (let i = 0; i < 3; i++) await release()
  await over
  const settled = await Promise.allSettled(answers)
  t.deepEqual(
    settled.map(({ status }) => status),
    ['fulfilled', 'rejected', 'rejected', 'fulfilled', 'fulfilled'],
  )
  await drained() // nothing is left
})
