import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSampler, type SamplerOptions, slicedPermutation } from '../../lib/data/sampler.js'
import { Purpose, permutation } from '../../lib/random.js'

const options: SamplerOptions = {
  length: 103,
  batch: 10,
  seed: 3,
  shuffle: true,
  dropLast: true,
  augment: { flip: true, pad: 2 },
  purpose: Purpose.order,
}

test('the sliced permutation is the permutation', async () => {
  for (const n of [0, 1, 2, 5, 8192, 20_001]) {
    assert.deepEqual(await slicedPermutation(n, 9, Purpose.order, 4), permutation(n, 9, Purpose.order, 4), `n = ${n}`)
  }
})

test('steps walk through the permutation of their epoch, the incomplete batch left out', async () => {
  const sampler = createSampler(options)
  assert.equal(sampler.stepsPerEpoch, 10)
  for (const epoch of [0, 1, 7]) {
    const order = permutation(103, 3, Purpose.order, epoch)
    for (const step of [0, 4, 9]) {
      const { indices } = await sampler.at(epoch * 10 + step)
      assert.deepEqual(indices, order.slice(step * 10, step * 10 + 10))
    }
  }
})

test('without shuffling the order is the natural one and the last batch is whatever is left', async () => {
  const sampler = createSampler({ ...options, shuffle: false, dropLast: false })
  assert.equal(sampler.stepsPerEpoch, 11)
  assert.deepEqual([...(await sampler.at(0)).indices], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  const last = await sampler.at(10)
  assert.deepEqual([...last.indices], [100, 101, 102])
  assert.deepEqual([...last.crops], [2, 2, 0, 2, 2, 0, 2, 2, 0], 'no augmentation: dy = dx = pad, no flip')
})

test('crops lie in range, use all of it, and belong to (seed, epoch, image), not to the batch', async () => {
  const wide = createSampler({ ...options, length: 1000, batch: 1000 })
  const { indices, crops } = await wide.at(5)
  const seen = [0, 1, 2].map(() => new Map<number, number>())
  crops.forEach((value, i) => void seen[i % 3]!.set(value, (seen[i % 3]!.get(value) ?? 0) + 1))
  assert.deepEqual([...seen[0]!.keys()].sort(), [0, 1, 2, 3, 4])
  assert.deepEqual([...seen[1]!.keys()].sort(), [0, 1, 2, 3, 4])
  assert.deepEqual([...seen[2]!.keys()].sort(), [0, 1])
  // Fair draws: 1000 images, 5 offsets and 2 flips; five standard deviations are 63 and 79.
  for (const count of [...seen[0]!.values(), ...seen[1]!.values()]) assert.ok(Math.abs(count - 200) < 63, `${count}`)
  assert.ok(Math.abs(seen[2]!.get(1)! - 500) < 79)
  const byImage = new Map([...indices].map((index, i) => [index, crops.slice(3 * i, 3 * i + 3)]))
  const narrow = createSampler({ ...options, length: 1000, batch: 50 })
  for (let step = 100; step < 120; step++) {
    const sample = await narrow.at(step)
    for (const [i, index] of sample.indices.entries()) {
      assert.deepEqual(sample.crops.slice(3 * i, 3 * i + 3), byImage.get(index))
    }
  }
})

test('flips can be switched off, and no padding means no shift', async () => {
  const { crops } = await createSampler({ ...options, augment: { flip: false, pad: 0 } }).at(0)
  assert.ok(crops.every((value) => value === 0))
})

test('another seed, epoch or purpose gives another order and other crops', async () => {
  const reference = await createSampler(options).at(0)
  const others = [
    createSampler({ ...options, seed: 4 }).at(0),
    createSampler(options).at(10),
    createSampler({ ...options, purpose: Purpose.candidateBatches }).at(0),
  ]
  for (const other of await Promise.all(others)) {
    assert.notDeepEqual(other.indices, reference.indices)
    assert.notDeepEqual(other.crops, reference.crops)
  }
  assert.deepEqual(await createSampler(options).at(0), reference)
})
