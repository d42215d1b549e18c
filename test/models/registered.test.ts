import { readFile } from 'node:fs/promises'
import { gunzipSync } from 'node:zlib'
import { createModel, modelNames } from '../../lib/models/registry.js'
import { test } from '../serial.js'

test("names and shapes of every registered network's parameters are timm's", async (t) => {
  const packed = await readFile(new URL('../golden/parameters.json.gz', import.meta.url))
  const listing = JSON.parse(gunzipSync(packed).toString()) as Record<string, Record<string, number[]>>
  t.is(Object.keys(listing).length, 19)
  for (const [name, shapes] of Object.entries(listing)) {
    const own = createModel(name).parameters.map((parameter) => [parameter.name, [...parameter.shape]])
    t.deepEqual(Object.fromEntries(own), shapes, name)
  }
  const ours = modelNames().filter((name) => !(name in listing))
  t.deepEqual(ours, ['vit_micro', 'vit_fashion'], 'networks that timm does not have')
})
