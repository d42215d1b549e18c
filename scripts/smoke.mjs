// Everything that the public API offers, once, with the addon of the package around this file or of the one installed
// beside it. Used by .ci/run; valid TypeScript too.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createModel, createSession, openDevice, resolveConfig, train } from 'autoprog'
import sharp from 'sharp'

const folder = mkdtempSync(join(tmpdir(), 'autoprog-smoke-'))
const device = await openDevice('cpu')
const configuration = { imageSize: 32, patchSize: 8, embedDim: 48, depth: 4, heads: 3, classes: 10 }
const open = () =>
  createSession({
    device,
    model: createModel('vit', configuration),
    precision: 'fp32',
    seed: 0,
    optimizer: { averages: [0.9] },
  })
const session = await open()
const data = Uint8Array.from({ length: 2 * 32 * 32 * 3 }, (_, i) => (i * 37) % 251)
const images = { data, shape: [2, 32, 32, 3] }
const targets = Int32Array.of(3, 7)

const { logits } = await session.forward({ images })
const values = Array.from(logits)
assert.equal(values.length, 2 * 10)
assert.ok(values.every(Number.isFinite), `Expected finite logits but received ${values}`)
assert.notDeepEqual(values.slice(0, 10), values.slice(10), 'Expected different logits for different images')

const { loss, gradients } = await session.lossAndGradients({ images, targets, layers: [0, 2], resolution: 24 })
assert.ok(loss > 0 && gradients.has('blocks.2.attn.qkv.weight') && !gradients.has('blocks.1.attn.qkv.weight'))
await session.step({ images, targets, learningRate: 1e-2 })
const stepped = await session.forward({ images, targets })
assert.ok(stepped.loss !== undefined && stepped.loss < loss, 'Expected a step to lower the loss')

const path = join(folder, 'weights.safetensors')
await session.save(path)
const other = await open()
await other.load(path)
assert.deepEqual((await other.forward({ images })).logits, stepped.logits)
assert.equal((await other.parameters('ema0')).size, (await session.parameters('model')).size)
await other.close()

await session.grow(
  [0, 1, 1, 2, 3].map((source, layer) => ({ source, added: layer === 2 })),
  { fromAverage: 'added' },
)
assert.equal(session.model.depth, 5)
assert.ok(Array.from((await session.forward({ images })).logits).every(Number.isFinite))
await session.close()
await device.close()

for (const [level, name] of ['dark', 'bright'].entries()) {
  mkdirSync(join(folder, 'data', name), { recursive: true })
  for (let index = 0; index < 20; index++)
    await sharp({
      create: { width: 16, height: 16, channels: 3, background: { r: 40 + 150 * level, g: 60 + index, b: 90 } },
    })
      .png()
      .toFile(join(folder, 'data', name, `${index}.png`))
}
const model = { kind: 'vit', imageSize: 16, patchSize: 4, embedDim: 24, depth: 2, heads: 2 }
const recipe = resolveConfig({
  data: join(folder, 'data'),
  model,
  epochs: 4,
  batch: 8,
  schedule: { kind: 'autoprog', stages: 2, ratio: 0.5 },
  search: { batches: 1 },
  learningRate: { warmupEpochs: 1 },
})
let top1
for await (const event of train(recipe, { out: join(folder, 'run') }))
  if (event.type === 'end') top1 = event.summary.top1
assert.ok(typeof top1 === 'number' && top1 >= 0 && top1 <= 1)
rmSync(folder, { recursive: true })
console.log(`forward: ${values.slice(0, 3).map((value) => value.toFixed(4))} …; trained to a top-1 of ${top1}`)
