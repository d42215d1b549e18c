import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { createModel, modelNames } from '../../lib/models/registry.js'

test("names and shapes of every registered network's parameters are timm's", async () => {
  const packed = await readFile(new URL('../golden/parameters.json.gz', import.meta.url))
  const listing = JSON.parse(gunzipSync(packed).toString()) as Record<string, Record<string, number[]>>
  assert.equal(Object.keys(listing).length, 19)
  for (const [name, shapes] of Object.entries(listing)) {
    const own = createModel(name).parameters.map((parameter) => [parameter.name, [...parameter.shape]])
    assert.deepEqual(Object.fromEntries(own), shapes, name)
  }
  const ours = modelNames().filter((name) => !(name in listing))
  assert.deepEqual(ours, ['vit_micro', 'vit_fashion'], 'networks that timm does not have')
})
