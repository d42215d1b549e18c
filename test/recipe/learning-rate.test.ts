import type { ExecutionContext } from 'ava'
import type { LearningRateSchedule } from '../../lib/recipe/learning-rate.js'
import { learningRateAt, learningRateOfStep } from '../../lib/recipe/learning-rate.js'
import { goldenJson } from '../golden.js'
import { test } from '../serial.js'

interface Row {
  epochs: number
  warmupEpochs: number
  cooldownEpochs: number
  peak: number
  floor: number
  warmupFrom: number
  learningRatePerEpoch: number[]
}

const rows = (
  await Promise.all(['schedule', 'schedule_more'].map((name) => goldenJson<{ rows: Row[] }>(name)))
).flatMap((file) => file.rows)

const scheduleOf = ({ peak, epochs, floor, warmupEpochs, warmupFrom }: Row): LearningRateSchedule => ({
  ...{ peak, epochs, warmupEpochs },
  minimum: floor,
  warmupStart: warmupFrom,
})

/** The tables are float64, printed in full: only the last bits of the cosine may differ. */
function assertRate(t: ExecutionContext, rate: number, wanted: number, where: string): void {
  t.true(Math.abs(rate - wanted) <= 1e-12 * wanted, `${where}: ${rate} instead of ${wanted}`)
}

test('every epoch of every table', (t) => {
  t.is(rows.length, 17)
  for (const row of rows) {
    t.is(row.learningRatePerEpoch.length, row.epochs + row.cooldownEpochs)
    for (const [epoch, wanted] of row.learningRatePerEpoch.entries())
      assertRate(t, learningRateAt(scheduleOf(row), epoch), wanted, `${row.epochs} epochs, epoch ${epoch}`)
  }
})

test('held through an epoch, all of its steps have the rate of the table', (t) => {
  const stepsPerEpoch = 7
  for (const row of rows)
    for (const [epoch, wanted] of row.learningRatePerEpoch.entries())
      for (const step of [0, 3, 6])
        assertRate(
          t,
          learningRateOfStep(scheduleOf(row), epoch * stepsPerEpoch + step, stepsPerEpoch, 'epoch'),
          wanted,
          `epoch ${epoch}, step ${step}`,
        )
})

test('set at every step, the rate meets the table where an epoch starts and moves on within it', (t) => {
  const stepsPerEpoch = 7
  for (const row of rows) {
    const rate = (step: number) => learningRateOfStep(scheduleOf(row), step, stepsPerEpoch)
    for (const [epoch, wanted] of row.learningRatePerEpoch.entries()) {
      assertRate(t, rate(epoch * stepsPerEpoch), wanted, `epoch ${epoch}`)
      const inside = [1, 2, 3, 4, 5, 6].map((step) => rate(epoch * stepsPerEpoch + step))
      const next = rate((epoch + 1) * stepsPerEpoch)
      const path = [wanted, ...inside, next]
      const rising = epoch < row.warmupEpochs
      // The warm-up ends on the cosine, which has come down from the peak by then.
      if (epoch === row.warmupEpochs - 1) path.pop()
      for (const [index, value] of path.slice(1).entries()) {
        if (epoch >= row.epochs) t.is(value, row.floor)
        else t.true(rising ? value > path[index]! : value < path[index]!, `epoch ${epoch}, step ${index + 1}`)
      }
    }
  }
})

test('without a warm-up the run starts at the peak', (t) => {
  const schedule = { peak: 1e-3, epochs: 8, minimum: 1e-5, warmupEpochs: 0, warmupStart: 1e-6 }
  t.is(learningRateAt(schedule, 0), 1e-3)
  t.is(learningRateAt(schedule, 8), 1e-5)
  t.is(learningRateAt({ ...schedule, warmupEpochs: 0.5 }, 0.25), 1e-6 + (1e-3 - 1e-6) / 2)
})

test('numbers that make no schedule', (t) => {
  const schedule = { peak: 1e-3, epochs: 8, minimum: 1e-5, warmupEpochs: 1, warmupStart: 1e-6 }
  for (const key of ['peak', 'epochs', 'minimum', 'warmupEpochs', 'warmupStart'] as const)
    for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY])
      t.throws(() => learningRateAt({ ...schedule, [key]: value }, 1), {
        code: 'CONFIG',
        message: new RegExp(`${key} of the learning rate`),
      })
  t.throws(() => learningRateAt(schedule, -1), { code: 'CONFIG' })
  t.throws(() => learningRateOfStep(schedule, 1, 0), { code: 'CONFIG', message: /steps per epoch/ })
})
