import { adaptivePresets, adaptiveValue, adaptiveValues } from '../../lib/growth/regularization.js'
import { test } from '../serial.js'
import { growth } from './tables.js'

const keys = ['magnitude', 'erasing', 'stochasticDepth'] as const

test('values of every stage in every table', (t) => {
  t.is(growth.adaptive.length, 6)
  for (const { preset, stages, ...wanted } of growth.adaptive)
    for (let stage = 0; stage < stages; stage++) {
      const values = adaptiveValues(adaptivePresets[preset], stage, stages, false)
      for (const key of keys) {
        t.is(wanted[key].length, stages)
        t.true(Math.abs(values[key] - wanted[key][stage]!) < 1e-12, `${preset} ${key} of stage ${stage}`)
      }
    }
})

test('a search runs at the strength of the last stage', (t) => {
  for (const { preset, stages } of growth.adaptive) {
    const last = adaptiveValues(adaptivePresets[preset], stages - 1, stages, false)
    for (const key of keys) t.is(last[key], adaptivePresets[preset][key].maximum)
    for (let stage = 0; stage < stages; stage++)
      t.deepEqual(adaptiveValues(adaptivePresets[preset], stage, stages, true), last)
  }
})

test('a single stage is the last one', (t) => {
  t.is(adaptiveValue({ minimum: 0, maximum: 0.3 }, 0, 1), 0.3)
})

test('stages that there are not', (t) => {
  for (const stage of [-1, 4, 1.5, Number.NaN])
    t.throws(() => adaptiveValue({ minimum: 0, maximum: 1 }, stage, 4), { code: 'CONFIG', message: /from 0 to 3/ })
})
