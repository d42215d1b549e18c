import type { Initialization } from '../../lib/models/model.js'
import { initialValues, layoutOf } from '../../lib/models/parameters.js'
import { createModel } from '../../lib/models/registry.js'
import { different, same } from '../same.js'
import { test } from '../serial.js'

const values = (initialization: Initialization, seed = 0, occasion = 0) =>
  initialValues(
    { name: 'w', shape: [100, 200], decayed: true, block: undefined, initialization, statistic: false },
    seed,
    occasion,
  )
const moments = (list: Float32Array) => {
  const mean = list.reduce((sum, value) => sum + value, 0) / list.length
  return { mean, deviation: Math.sqrt(list.reduce((sum, value) => sum + (value - mean) ** 2, 0) / list.length) }
}

test('distributions have the moments that they should', (t) => {
  // 20,000 values: the mean's own deviation is 1/141 of theirs, the deviation's 1/200.
  const normal = moments(values({ kind: 'normal', deviation: 2 }))
  t.true(Math.abs(normal.mean) < 0.06 && Math.abs(normal.deviation - 2) < 0.05, JSON.stringify(normal))
  const truncated = values({ kind: 'truncatedNormal', deviation: 2 })
  t.true(truncated.every((value) => Math.abs(value) <= 4))
  // Cut at two deviations, the deviation is 0.8796 of the whole normal's.
  t.true(Math.abs(moments(truncated).deviation - 2 * 0.8796) < 0.05)
  const uniform = values({ kind: 'uniform', bound: 3 })
  t.true(
    uniform.every((value) => Math.abs(value) <= 3) && Math.abs(moments(uniform).deviation - 3 / Math.sqrt(3)) < 0.05,
  )
  t.true(values({ kind: 'constant', value: 1 }).every((value) => value === 1))
})

test('values depend on seed, name and occasion alone', (t) => {
  const normal = { kind: 'normal', deviation: 1 } as const
  same(t, values(normal, 3), values(normal, 3))
  different(t, values(normal, 3), values(normal, 4))
  different(t, values(normal, 3, 1), values(normal, 3))
  different(t, values(normal, 3, 1), values(normal, 3, 2))
})

test('a layout holds every parameter once, without overlap', (t) => {
  const model = createModel('vit_micro')
  const { entries, size } = layoutOf(model)
  t.deepEqual(
    [...entries.keys()],
    model.parameters.map(({ name }) => name),
  )
  let end = 0
  for (const { offset, count } of entries.values()) {
    t.true(offset >= end && offset % 16 === 0)
    end = offset + count
  }
  t.true(size >= end)
})
