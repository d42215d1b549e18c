import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blocksOfDepth, fullNetworkOf } from '../../lib/growth/space.js'
import { createModel } from '../../lib/models/registry.js'
import { goldenJson } from '../golden.js'

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
  test(`multiply-adds and parameters of every network, depth and resolution of ${fixture}`, async () => {
    const { rows } = await goldenJson<{ rows: Row[] }>(fixture)
    assert.ok(rows.length >= 144, `${rows.length} rows`)
    for (const { model: name, resolution, depth, split, blocks: stages, macs, parameters } of rows) {
      const model = createModel(nameOf(name))
      const blocks = stages ?? split ?? blocksOfDepth(fullNetworkOf(model), depth ?? model.depth)
      const where = `${name} at ${resolution}, ${blocks} blocks`
      assert.equal(model.flops({ resolution, blocks }), macs, where)
      if (parameters !== null) assert.equal(model.parameterCount(blocks), parameters, where)
    }
  })
