// A model runs forward with the addon of the package around this file, or of the one installed beside it. Used by .ci/run;
// valid TypeScript too.
import assert from 'node:assert/strict'
import { createModel, createSession, openDevice } from 'autoprog'

const device = await openDevice('cpu')
const model = createModel('vit', { imageSize: 32, patchSize: 8, embedDim: 48, depth: 4, heads: 3, classes: 10 })
const session = await createSession({ device, model, precision: 'fp32', seed: 0 })
const pixels = Uint8Array.from({ length: 2 * 32 * 32 * 3 }, (_, i) => (i * 37) % 251)
const { logits } = await session.forward({ images: { data: pixels, shape: [2, 32, 32, 3] } })
await session.close()

const values = Array.from(logits)
assert.equal(values.length, 2 * 10)
assert.ok(values.every(Number.isFinite), `Expected finite logits but received ${values}`)
assert.notDeepEqual(values.slice(0, 10), values.slice(10), 'Expected different logits for different images')
console.log(`forward: ${values.slice(0, 3).map((value) => value.toFixed(4))} …`)
