import type { Mix } from '../../lib/data/image/mix.js'
import { createModel } from '../../lib/models/registry.js'
import { openDevice } from '../../lib/native.js'
import { mixValues } from '../../lib/session/mixing.js'
import type { Precision } from '../../lib/session/request.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'
import { assertClose } from '../golden.js'
import { randomValues } from '../ops/harness.js'
import { different, same } from '../same.js'
import { test } from '../serial.js'
import { unless } from '../unless.js'

const device = await openTestDevice()
test.after.always(() => device.close())

const side = 16
const classes = 4
const model = createModel('vit', {
  ...{ imageSize: side, patchSize: 8, embedDim: 12, depth: 2, heads: 2, channels: 1, classes },
  ...{ mean: [0.3], deviation: [0.4] },
})
const smoothing = 0.1
const open = () => createSession({ device, model, labelSmoothing: smoothing })

const mixes: Mix[] = [
  { lambda: 0.3 },
  { box: { top: 2, bottom: 9, left: 5, right: 16 } },
  { lambda: 1 },
  { lambda: 0.5, box: { top: 0, bottom: 16, left: 0, right: 3 } }, // lambda says nothing here
]

/** Rows of a batch with their partners' at `share`, in doubles; with `inside`, the partner's value there. */
function mixed(values: Float32Array, batch: number, share: number, inside: (at: number) => boolean = () => false) {
  const size = values.length / batch
  return Float32Array.from(values, (value, at) => {
    const partner = values[(batch - 1 - Math.floor(at / size)) * size + (at % size)]!
    return inside(at % size) ? partner : share * value + (1 - share) * partner
  })
}

function mixedByHand(images: Float32Array, targets: Float32Array, batch: number, mix: Mix) {
  const [blend, share, top, bottom, left, right] = [...mixValues(mix, side)] as [
    number,
    ...[number, number, number, number, number],
  ]
  const inside = (at: number) => at >= top * side && at < bottom * side && at % side >= left && at % side < right
  return { images: mixed(images, batch, blend, inside), targets: mixed(targets, batch, share) }
}

function softTargets(labels: Int32Array): Float32Array {
  const soft = new Float32Array(labels.length * classes).fill(smoothing / classes)
  for (const [image, label] of labels.entries()) soft[image * classes + label]! += 1 - smoothing
  return soft
}

// One program a micro-batch, whatever is mixed: the same results as of a batch that was mixed beforehand.
for (const [batch, microBatch] of [
  [8, 8],
  [8, 4],
  [8, 2],
  [5, 5],
  [1, 1],
] as const)
  test(`a session that mixes: batch ${batch} in micro-batches of ${microBatch}`, async (t) => {
    const session = await open()
    const shape = [batch, side, side, 1]
    const images = randomValues(shape, 1)
    const labels = Int32Array.from({ length: batch }, (_, image) => image % classes)
    for (const mix of mixes) {
      const wanted = mixedByHand(images, softTargets(labels), batch, mix)
      const hand = await session.lossAndGradients({
        ...{ images: { data: wanted.images, shape }, targets: wanted.targets, microBatch, imageGradient: true },
      })
      for (const targets of [labels, softTargets(labels)]) {
        const ours = await session.lossAndGradients({
          ...{ images: { data: images, shape }, targets, mix, microBatch, imageGradient: true },
        })
        const name = `${JSON.stringify(mix)} ${targets.constructor.name}`
        assertClose(t, [ours.loss], [hand.loss], 1e-5, name)
        assertClose(t, ours.logits, hand.logits, 1e-5, name)
        assertClose(t, ours.imageGradient!, hand.imageGradient!, 1e-4, name)
        for (const [key, values] of hand.gradients) assertClose(t, ours.gradients.get(key)!, values, 1e-4, key)
      }
    }
    await session.close()
  })

test('a session that mixes: 8-bit images are normalised, erased and mixed, whatever the micro-batch', async (t) => {
  const session = await open()
  const batch = 8
  const images = {
    data: Uint8Array.from({ length: batch * 400 }, (_, index) => (index * 37) % 251),
    ...{ shape: [batch, 20, 20, 1], pad: 2 },
  }
  const targets = Int32Array.from({ length: batch }, (_, image) => image % classes)
  const erase = Int32Array.from([...Array(batch).keys()].flatMap((image) => [image % 3, image, 4 + image, 8 - image]))
  const run = (step: number, microBatch: number, mix: Mix) =>
    session.lossAndGradients({
      ...{ images, targets, erase, mix, step, microBatch, resolution: side, stochasticDepth: 0.2 },
    })
  for (const mix of mixes) {
    const whole = await run(1, 8, mix)
    for (const microBatch of [4, 2]) {
      const parts = await run(1, microBatch, mix)
      assertClose(t, [parts.loss], [whole.loss], 1e-5, 'loss')
      assertClose(t, parts.logits, whole.logits, 1e-5, 'logits')
      for (const [key, values] of whole.gradients) assertClose(t, parts.gradients.get(key)!, values, 1e-4, key)
    }
    same(t, (await run(1, 8, mix)).logits, whole.logits)
    different(t, (await run(2, 8, mix)).logits, whole.logits)
  }
  await session.close()
})

unless(device.kind === 'cpu' && 'the processor is what it is compared with')(
  'a session that mixes: computes what the processor computes',
  async (t) => {
    const cpu = await openDevice('cpu', { threads: 2 })
    const shape = [6, side, side, 1]
    const images = { data: Uint8Array.from({ length: 6 * side * side }, (_, index) => (index * 37) % 251), shape }
    const erase = Int32Array.from([0, 1, 2, 3, 4, 5].flatMap((image) => [image, 2, 8 - image, 3 + image]))
    // In f32 only the order of sums differs; in 16 bits a value between two neighbours may round either way.
    for (const [precision, tolerance] of [
      ['fp32', 1e-5],
      ['bf16', 2e-2],
      ['fp16', 3e-3],
    ] as [Precision, number][]) {
      const run = async (on: typeof device) => {
        const session = await createSession({ device: on, model, labelSmoothing: smoothing, precision })
        const targets = Int32Array.of(0, 1, 2, 3, 0, 1)
        const results: number[] = []
        for (const [step, mix] of mixes.entries()) {
          const { loss, logits } = await session.lossAndGradients({ images, targets, erase, mix, step, microBatch: 2 })
          results.push(loss, ...logits)
        }
        await session.close()
        return results
      }
      assertClose(t, await run(device), await run(cpu), tolerance, precision)
    }
    await cpu.close()
  },
)

test('a session that mixes: a lambda of 1 and boxes without height change nothing', async (t) => {
  const session = await open()
  const batch = { images: { data: randomValues([4, side, side, 1], 2), shape: [4, side, side, 1] } }
  const plain = await session.forward(batch)
  const mixed = await session.forward({ ...batch, mix: { lambda: 1 }, erase: new Int32Array(16) })
  same(t, mixed.logits, plain.logits)
  await session.close()
})

test('a session that mixes: erases what it is told, by step, and trains on it', async (t) => {
  const session = await open()
  const shape = [4, side, side, 1]
  const images = { data: randomValues(shape, 3), shape }
  const targets = Int32Array.of(0, 1, 2, 3)
  const whole = Int32Array.from([0, 1, 2, 3].flatMap(() => [0, 0, side, side]))
  const run = async (data: Float32Array, step: number) =>
    (await session.forward({ images: { data, shape }, erase: whole, step })).logits
  // Nothing of the images is left.
  same(t, await run(images.data, 1), await run(new Float32Array(4 * side * side), 1))
  different(t, await run(images.data, 1), await run(images.data, 2))
  const { loss } = await session.step({ images, targets, erase: whole, mix: { lambda: 0.5 }, learningRate: 1e-3 })
  t.true(loss > 0 && Number.isFinite(loss))
  await session.close()
})

test('a session that mixes: wrong arguments are named', async (t) => {
  const session = await open()
  const images = { data: randomValues([2, side, side, 1], 2), shape: [2, side, side, 1] }
  const refused = (options: object, pattern: RegExp) =>
    t.throwsAsync(session.forward({ images, ...options }), { message: pattern })
  await refused({ mix: {} }, /Expected a number from 0 to 1 for mix.lambda but received undefined/)
  await refused({ mix: { lambda: 1.5 } }, /a number from 0 to 1 for mix.lambda but received 1.5/)
  await refused({ mix: { lambda: Number.NaN } }, /a number from 0 to 1 for mix.lambda/)
  await refused({ mix: 0.5 }, /\{ lambda \} or \{ box \} for mix/)
  await refused({ mix: { box: 1 } }, /\{ top, bottom, left, right \} for mix.box/)
  const box = { top: 0, bottom: 4, left: 0, right: 4 }
  for (const wrong of [{ bottom: 17 }, { top: 5 }, { left: -1 }, { right: 2.5 }, { right: undefined }])
    await refused({ mix: { box: { ...box, ...wrong } } }, /whole pixels from 0 to 16 .* for mix.box/)
  await refused({ erase: new Int32Array(4) }, /an Int32Array of length 8 \(batch, 4\) for erase/)
  await refused({ erase: [0, 0, 0, 0, 0, 0, 0, 0] }, /an Int32Array of length 8/)
  for (const wrong of [
    [0, 0, 17, 1],
    [-1, 0, 2, 2],
    [10, 0, 7, 1],
    [0, 2 ** 31 - 1, 1, 2 ** 31 - 1],
    [0, 0, 1, -1],
  ])
    await refused({ erase: Int32Array.of(0, 0, 0, 0, ...wrong) }, /within 16 x 16 pixels for erase of image 1/)
  await refused({ erase: new Int32Array(8), step: -1 }, /a non-negative integer for step/)
  await session.close()
})
