import assert from 'node:assert/strict'
import { test } from 'node:test'
import { drawsAt } from '../../lib/data/draws.js'
import { beta, drawMix } from '../../lib/data/mix.js'
import { Purpose } from '../../lib/random.js'

test('Beta(a, a) has its mean and variance', () => {
  for (const a of [0.2, 0.8, 1, 3]) {
    const values = Array.from({ length: 20_000 }, (_, step) => beta(a, drawsAt(5, Purpose.mix, step, 0)))
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length
    assert.ok(Math.abs(mean - 0.5) < 0.015, `mean ${mean}`)
    assert.ok(Math.abs(variance * 4 * (2 * a + 1) - 1) < 0.05, `variance ${variance} for ${a}`)
  }
})

test('half of the batches are cut, boxes lie within the image, and a step draws the same again', () => {
  const options = { mixup: 0.8, cutmix: 1, probability: 1, switchProbability: 0.5 }
  const mixes = Array.from({ length: 4000 }, (_, step) => drawMix(options, 3, step, 24))
  const cut = mixes.flatMap(({ box }) => (box ? [box] : []))
  assert.ok(Math.abs(cut.length / 4000 - 0.5) < 0.04, `${cut.length}`) // five standard deviations
  for (const { top, bottom, left, right } of cut)
    assert.ok(top >= 0 && left >= 0 && top <= bottom && left <= right && bottom <= 24 && right <= 24)
  assert.deepEqual(drawMix(options, 3, 17, 24), mixes[17])
  const never = { ...options, probability: 0 }
  assert.deepEqual(drawMix(never, 3, 17, 24), { lambda: 1 })
})
