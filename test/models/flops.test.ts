import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createModel } from '../../lib/models/registry.js'
import { goldenJson } from '../golden.js'

interface Row {
  model: string
  resolution: number
  depth: number
  macs: number
  parameters: number | null
}

const names: Record<string, string> = {
  deit_tiny: 'deit_tiny_patch16_224',
  deit_small: 'deit_small_patch16_224',
  deit_base: 'deit_base_patch16_224',
}

for (const fixture of ['flops', 'flops_more'])
  test(`multiply-adds and parameters of DeiT at every depth and resolution of ${fixture}`, async () => {
    const { rows } = await goldenJson<{ rows: Row[] }>(fixture)
    const deit = rows.filter(({ model }) => model.startsWith('deit'))
    assert.ok(deit.length >= 144, `${deit.length} rows`)
    for (const { model: name, resolution, depth, macs, parameters } of deit) {
      const model = createModel(names[name] ?? name)
      assert.equal(model.flops({ resolution, depth }), macs, `${name} at ${resolution}, ${depth} layers`)
      if (parameters !== null) assert.equal(model.parameterCount(depth), parameters, `${name}, ${depth} layers`)
    }
  })
