import { scheduleCost } from '../../lib/cli/flops.js'
import { blocksOfDepth, fullNetworkOf } from '../../lib/growth/space.js'
import { createModel } from '../../lib/models/registry.js'
import { goldenJson } from '../golden.js'
import { test } from '../serial.js'

interface Row {
  model: string
  resolution: number
  depth?: number
  /** Outlookers and transformers. */
  split?: number[]
  /** Of each stage. */
  blocks?: number[]
  macs: number
  parameters: number | null
}

const nameOf = (model: string) =>
  model.startsWith('deit') && !model.includes('patch')
    ? `${model}_patch16_224`
    : model.startsWith('volo') && !/_\d+$/.test(model)
      ? `${model}_224`
      : model

for (const fixture of ['flops', 'flops_more'])
  test(`multiply-adds and parameters of every network, depth and resolution of ${fixture}`, async (t) => {
    const { rows } = await goldenJson<{ rows: Row[] }>(fixture)
    t.true(rows.length >= 144, `${rows.length} rows`)
    for (const { model: name, resolution, depth, split, blocks: stages, macs, parameters } of rows) {
      const model = createModel(nameOf(name))
      const blocks = stages ?? split ?? blocksOfDepth(fullNetworkOf(model), depth ?? model.depth)
      const where = `${name} at ${resolution}, ${blocks} blocks`
      t.is(model.flops({ resolution, blocks }), macs, where)
      if (parameters !== null) t.is(model.parameterCount(blocks), parameters, where)
    }
  })

test("table VII's schedules: what their stages cost, and the average", async (t) => {
  const { tableVII } = await goldenJson<{
    tableVII: { model: string; depths: number[]; resolutions: number[]; macs: number[]; mean: number; full: number }[]
  }>('flops')
  const ratios: Record<string, [l: number, n: number][]> = {
    volo_d1_224: [
      [0.4, 0.4],
      [1, 0.6],
      [1, 0.6],
      [1, 1],
    ],
    volo_d2_224: [
      [0.83, 0.5],
      [1, 0.67],
      [1, 0.83],
      [1, 1],
    ],
  }
  t.is(tableVII.length, 2)
  for (const row of tableVII) {
    const schedule = ratios[row.model]!.map(([l, n]) => ({ l, n }))
    const { stages, average, speedup } = scheduleCost(createModel(row.model), schedule)
    t.deepEqual(
      stages.map(({ depth, resolution, flops }) => [depth, resolution, flops]),
      row.depths.map((depth, k) => [depth, row.resolutions[k], row.macs[k]]),
    )
    t.is(average, row.mean)
    t.is(speedup, row.full / row.mean)
  }
})
