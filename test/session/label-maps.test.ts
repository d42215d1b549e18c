import type { Model } from '../../lib/models/model.js'
import { createModel } from '../../lib/models/registry.js'
import type { LabelMapOptions } from '../../lib/session/label-maps.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'
import { assertClose } from '../golden.js'
import { randomValues } from '../ops/harness.js'
import { alignedLabels } from '../ops/label-maps.js'
import { same } from '../same.js'
import { test } from '../serial.js'

const device = await openTestDevice()
test.after.always(() => device.close())

const [side, patch, classes] = [24, 8, 5]
const vit = createModel('vit', {
  ...{ imageSize: side, patchSize: patch, embedDim: 12, depth: 2, heads: 2, channels: 1, classes },
  ...{ mean: [0.3], deviation: [0.4] },
})

/** A network with a head for tokens: a vision transformer whose head looks at its patches too. */
const model: Model = {
  ...vit,
  tokenSize: patch,
  build: (graph, options) => vit.build(graph, { ...options, positions: true }),
}

const batch = 4
const shape = [batch, side, side, 1]
const images = { data: randomValues(shape, 1), shape }
const targets = Int32Array.of(0, 3, 1, 4)
const mapShape = [2, 5, 6] as const
const size = batch * 60
const labelMaps: LabelMapOptions = {
  shape: mapShape,
  classes: Int32Array.from({ length: size }, (_, i) => (i * 7 + (i >> 3)) % classes),
  scores: randomValues([size], 2).map((value) => 0.25 + 0.2 * value),
  regions: Float32Array.of(0, 0, 1, 1, 0, 0.1, 0.2, 0.7, 0.9, 1, -0.2, 0, 0.8, 1, 0, 0.5, 0.5, 0.75, 0.8, 1),
}
const targetsOf = (maps: LabelMapOptions, smoothing: number, grid: number) =>
  Float32Array.from(
    alignedLabels(
      { ...maps, shape: [batch, ...maps.shape] },
      { grid, classCount: classes, smoothing, logits: maps.logits ?? false },
    ),
  )

test('label maps of a session: are the targets of tokens that follow from them, smoothed where labels are', async (t) => {
  const session = await createSession({ device, model, labelSmoothing: 0.1 })
  const logits = { ...labelMaps, scores: labelMaps.scores.map((score) => 20 * score - 4), logits: true }
  for (const maps of [labelMaps, logits]) {
    const plain = await session.forward({ images, targets })
    const given = await session.forward({ images, targets, tokenTargets: targetsOf(maps, 0, 3) })
    const ours = await session.forward({ images, targets, labelMaps: maps })
    assertClose(t, [ours.loss!], [given.loss!], 1e-5, 'loss')
    t.true(Math.abs(given.loss! - plain.loss!) > 0.1, 'it counts')
    for (const microBatch of [4, 2]) {
      const wanted = await session.lossAndGradients({ images, targets, tokenTargets: targetsOf(maps, 0.1, 3) })
      const result = await session.lossAndGradients({ images, targets, labelMaps: maps, microBatch })
      assertClose(t, [result.loss], [wanted.loss], 1e-5, 'loss')
      for (const [name, values] of wanted.gradients) assertClose(t, result.gradients.get(name)!, values, 1e-4, name)
    }
  }
  await session.close()
})

test('label maps of a session: serve any resolution of the network', async (t) => {
  const session = await createSession({ device, model })
  const eightBit = {
    data: Uint8Array.from({ length: batch * 400 }, (_, i) => (i * 37) % 251),
    shape: [batch, 20, 20, 1],
  }
  for (const resolution of [8, 16, 32]) {
    const tokenTargets = targetsOf(labelMaps, 0, resolution / patch)
    const given = await session.forward({ images: eightBit, targets, resolution, tokenTargets })
    const ours = await session.forward({ images: eightBit, targets, resolution, labelMaps })
    assertClose(t, [ours.loss!], [given.loss!], 1e-5, `${resolution}`)
  }
  const { loss } = await session.step({ images, targets, labelMaps, learningRate: 1e-3 })
  t.true(Number.isFinite(loss))
  await session.close()
})

test('label maps of a session: wrong ones are named', async (t) => {
  const session = await createSession({ device, model })
  const refused = (options: object, message: RegExp, code = 'SHAPE') =>
    t.throwsAsync(session.forward({ images, targets, ...options }), { code, message })
  const wrong = (more: object, message: RegExp, code?: string) =>
    refused({ labelMaps: { ...labelMaps, ...more } }, message, code)
  await refused({ labelMaps: 3 }, /\{ classes, scores, shape: \[K, h, w\], regions \} for labelMaps/)
  await wrong({ shape: [2, 5] }, /three positive integers for labelMaps\.shape/)
  await wrong({ shape: [2, 0, 6] }, /three positive integers/)
  await wrong({ classes: new Int32Array(3) }, /an Int32Array of length 240 for labelMaps\.classes/)
  await wrong({ scores: new Float32Array(241) }, /a Float32Array of length 240 for labelMaps\.scores/)
  await wrong({ regions: new Float32Array(16) }, /a Float32Array of length 20 \(4, 5\) for labelMaps\.regions/)
  await wrong({ classes: new Int32Array(size).fill(5) }, /class indices from 0 to 4 for labelMaps\.classes/, 'DATA')
  await wrong({ classes: new Int32Array(size).fill(-1) }, /class indices from 0 to 4/, 'DATA')
  await wrong({ scores: new Float32Array(size).fill(Number.NaN) }, /finite numbers for labelMaps\.scores/, 'DATA')
  await wrong({ regions: new Float32Array(20).fill(Number.POSITIVE_INFINITY) }, /shares of a picture's sides/, 'DATA')
  await refused({ labelMaps, tokenTargets: new Float32Array(180) }, /by tokenTargets or by labelMaps/, 'CONFIG')
  await session.close()
  const other = await createSession({ device, model: vit })
  await t.throwsAsync(other.forward({ images, targets, labelMaps }), {
    ...{ code: 'CONFIG', message: /vit has no head for tokens, which labelMaps needs/ },
  })
  await other.close()
})

test('logits at every position: are what the head says of each patch, in rows of the image', async (t) => {
  const session = await createSession({ device, model: vit })
  // Without positions and attention's output a token knows its own patch alone.
  const state = await session.state()
  for (const [name, { values }] of state)
    if (/^weights\/(pos_embed|blocks\.\d+\.attn\.proj\.)/.test(name)) values.fill(0)
  await session.restore(state)
  const tint = (row: number, column: number) => Math.sin(3 * row + column)
  const picture = Float32Array.from({ length: side * side }, (_, i) =>
    tint(Math.floor(i / side / patch), Math.floor((i % side) / patch)),
  )
  const { tokenLogits } = await session.forward({
    images: { data: picture, shape: [1, side, side, 1] },
    positions: true,
  })
  t.is(tokenLogits!.length, 9 * classes)
  for (let row = 0; row < 3; row++)
    for (let column = 0; column < 3; column++) {
      const plain = new Float32Array(side * side).fill(tint(row, column))
      const alone = await session.forward({ images: { data: plain, shape: [1, side, side, 1] }, positions: true })
      const at = 3 * row + column
      assertClose(
        t,
        tokenLogits!.subarray(at * classes, (at + 1) * classes),
        alone.tokenLogits!.subarray(4 * classes, 5 * classes),
        1e-5,
        `position ${at}`,
      )
    }
  await session.close()
})

test('logits at every position: leave everything else as it is, in mixed precision too', async (t) => {
  for (const precision of ['fp32', 'bf16'] as const) {
    const session = await createSession({ device, model: vit, precision })
    const plain = await session.forward({ images, targets, layers: [1] })
    const both = await session.forward({ images, targets, layers: [1], positions: true })
    t.is(plain.tokenLogits, undefined)
    t.is(both.tokenLogits!.length, batch * 9 * classes)
    assertClose(t, both.logits, plain.logits, precision === 'fp32' ? 1e-5 : 2e-2, precision)
    assertClose(t, [both.loss!], [plain.loss!], precision === 'fp32' ? 1e-5 : 2e-2, precision)
    await session.close()
  }
})

test('logits at every position: average to the logits of a ResNet, which pools before its head', async (t) => {
  const resnet = createModel('resnet', {
    ...{ imageSize: 64, block: 'basic', layers: [1, 1, 1, 1], channels: [4, 6, 8, 10], classes: 3 },
  })
  const session = await createSession({ device, model: resnet })
  const picture = { data: randomValues([2, 96, 96, 3], 4), shape: [2, 96, 96, 3] }
  const { logits, tokenLogits } = await session.forward({ images: picture, positions: true })
  t.is(tokenLogits!.length, 2 * 9 * 3)
  const means = Array.from(logits, (_, i) => {
    const own = tokenLogits!.filter((_, at) => Math.floor(at / 27) === Math.floor(i / 3) && at % 3 === i % 3)
    return own.reduce((sum, value) => sum + value) / 9
  })
  assertClose(t, logits, means, 1e-5, 'logits')
  await session.close()
})

test('logits at every position: are those of the head for tokens where a network has one', async (t) => {
  const volo = createModel('volo', {
    ...{ imageSize: 32, patchSize: 4, stemDim: 8, layers: [1, 1], embedDims: [12, 24], heads: [2, 2], classes: 3 },
  })
  const session = await createSession({ device, model: volo })
  const picture = { data: randomValues([2, 32, 32, 3], 4), shape: [2, 32, 32, 3] }
  const { tokenLogits } = await session.forward({ images: picture, positions: true })
  t.is(tokenLogits!.length, 2 * 16 * 3)
  same(t, tokenLogits, (await session.forward({ images: picture })).tokenLogits)
  await session.close()
})
