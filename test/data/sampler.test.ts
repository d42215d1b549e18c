import { createSampler, type SamplerOptions, slicedPermutation } from '../../lib/data/sampler.js'
import { Purpose, permutation } from '../../lib/random.js'
import { different, same } from '../same.js'
import { test } from '../serial.js'

const options: SamplerOptions = {
  length: 103,
  batch: 10,
  seed: 3,
  shuffle: true,
  dropLast: true,
  repeats: 1,
  purpose: Purpose.order,
}

test('the sliced permutation is the permutation', async (t) => {
  for (const n of [0, 1, 2, 5, 8192, 20_001]) {
    same(t, await slicedPermutation(n, 9, Purpose.order, 4), permutation(n, 9, Purpose.order, 4), `n = ${n}`)
  }
})

test('steps walk through the permutation of their epoch, the incomplete batch left out', async (t) => {
  const sampler = createSampler(options)
  t.is(sampler.stepsPerEpoch, 10)
  for (const epoch of [0, 1, 7]) {
    const order = permutation(103, 3, Purpose.order, epoch)
    for (const step of [0, 4, 9]) {
      const { indices } = await sampler.at(epoch * 10 + step)
      same(t, indices, order.slice(step * 10, step * 10 + 10))
    }
  }
})

test('without shuffling the order is the natural one and the last batch is whatever is left', async (t) => {
  const sampler = createSampler({ ...options, shuffle: false, dropLast: false })
  t.is(sampler.stepsPerEpoch, 11)
  t.deepEqual([...(await sampler.at(0)).indices], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  const last = await sampler.at(10)
  t.deepEqual([...last.indices], [100, 101, 102])
})

test('repeated, an image comes several times in a row as different samples, and an epoch is as long', async (t) => {
  const sampler = createSampler({ ...options, repeats: 3 })
  t.is(sampler.stepsPerEpoch, 10)
  const order = permutation(103, 3, Purpose.order, 1)
  const all = await Promise.all([...Array(10).keys()].map((step) => sampler.at(10 + step)))
  const indices = all.flatMap((sample) => [...sample.indices])
  t.deepEqual(
    indices,
    Array.from({ length: 100 }, (_, place) => order[Math.floor(place / 3)]),
  )
  t.is(new Set(all.flatMap(({ samples }) => samples)).size, 100)
})

test('another seed, epoch or purpose gives another order and other draws', async (t) => {
  const reference = await createSampler(options).at(0)
  const others = [
    createSampler({ ...options, seed: 4 }).at(0),
    createSampler(options).at(10),
    createSampler({ ...options, purpose: Purpose.candidateBatches }).at(0),
  ]
  for (const other of await Promise.all(others)) {
    different(t, other.indices, reference.indices)
    different(t, [other.epoch, other.indices], [reference.epoch, reference.indices])
  }
  t.deepEqual(await createSampler(options).at(0), reference)
})
