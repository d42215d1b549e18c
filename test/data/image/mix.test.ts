import { drawsAt } from '../../../lib/data/image/draws.js'
import { beta, drawMix, drawTokenBox } from '../../../lib/data/image/mix.js'
import { Purpose } from '../../../lib/random.js'
import { test } from '../../serial.js'

test('Beta(a, a) has its mean and variance', (t) => {
  for (const a of [0.2, 0.8, 1, 3]) {
    const values = Array.from({ length: 20_000 }, (_, step) => beta(a, drawsAt(5, Purpose.mix, step, 0)))
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length
    t.true(Math.abs(mean - 0.5) < 0.015, `mean ${mean}`)
    t.true(Math.abs(variance * 4 * (2 * a + 1) - 1) < 0.05, `variance ${variance} for ${a}`)
  }
})

test('half of the batches are cut, boxes lie within the image, and a step draws the same again', (t) => {
  const options = { mixup: 0.8, cutmix: 1, probability: 1, switchProbability: 0.5 }
  const mixes = Array.from({ length: 4000 }, (_, step) => drawMix(options, 3, step, 24))
  const cut = mixes.flatMap(({ box }) => (box ? [box] : []))
  t.true(Math.abs(cut.length / 4000 - 0.5) < 0.04, `${cut.length}`) // five standard deviations
  for (const { top, bottom, left, right } of cut)
    t.true(top >= 0 && left >= 0 && top <= bottom && left <= right && bottom <= 24 && right <= 24)
  t.deepEqual(drawMix(options, 3, 17, 24), mixes[17])
  const never = { ...options, probability: 0 }
  t.deepEqual(drawMix(never, 3, 17, 24), { lambda: 1 })
})

test("MixToken's boxes are CutMix's with Beta(1, 1), on the grid of tokens", (t) => {
  const cutmix = { mixup: 0, cutmix: 1, probability: 1, switchProbability: 0 }
  const shares = Array.from({ length: 4000 }, (_, step) => {
    const { top, bottom, left, right } = drawTokenBox(3, step, 14)
    t.true(top >= 0 && left >= 0 && top <= bottom && left <= right && bottom <= 14 && right <= 14)
    return ((bottom - top) * (right - left)) / 14 ** 2
  })
  // A box that lies inside has half of the area in the mean; edges cut some off.
  const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length
  const cut = Array.from({ length: 4000 }, (_, step) => drawMix(cutmix, 4, step, 14).box!)
  const wanted =
    cut.reduce((sum, { top, bottom, left, right }) => sum + ((bottom - top) * (right - left)) / 196, 0) / 4000
  t.true(Math.abs(mean - wanted) < 0.02, `${mean} and ${wanted}`)
  t.true(shares.filter((share) => share > 0.5).length > 200, 'large ones too')
  t.deepEqual(drawTokenBox(3, 7, 14), drawTokenBox(3, 7, 14))
  t.notDeepEqual(drawTokenBox(3, 7, 14), drawTokenBox(3, 8, 14))
})
