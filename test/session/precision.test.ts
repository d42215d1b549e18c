import { createModel } from '../../lib/models/registry.js'
import type { VitConfiguration } from '../../lib/models/vit.js'
import { draw, Purpose, toUnit } from '../../lib/random.js'
import type { LossScaleOptions } from '../../lib/session/options.js'
import type { Precision } from '../../lib/session/request.js'
import type { Session, StepResult } from '../../lib/session/session.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'
import { goldenJson, goldenTensors, relativeError } from '../golden.js'
import { same } from '../same.js'
import { test } from '../serial.js'

const device = await openTestDevice()

// Unit roundoff of each type. A gradient passes through some dozen roundings a block, whose errors mostly cancel; a factor
// of 8 holds for values and their gradients alike, and a wrong operand is off by far more.
const roundoff = { bf16: 2 ** -8, fp16: 2 ** -11 } as const

const golden = await goldenTensors('vit_micro')
const facts = await goldenJson<{ model: VitConfiguration; mean: number[]; std: number[]; full: { loss: number } }>(
  'vit_micro',
)
test.after.always(() => device.close())
for (const precision of ['bf16', 'fp16'] as const)
  test(`vit_micro in reduced precision against float64: ${precision}`, async (t) => {
    const model = createModel('vit', { ...facts.model, mean: facts.mean, deviation: facts.std })
    const session = await createSession({ device, model, precision })
    const state = await session.state()
    for (const [name, values] of golden.group('param/')) state.get(`weights/${name}`)!.values.set(values)
    await session.restore(state)
    const images = { data: golden.bytes('input/images'), shape: golden.shape('input/images') }
    const targets = golden.floats('input/targets')
    const result = await session.lossAndGradients({ images, targets, imageGradient: true })
    const near = (actual: ArrayLike<number>, wanted: ArrayLike<number>, what: string) => {
      const error = relativeError(actual, wanted)
      t.true(error <= 8 * roundoff[precision], `${what}: relative error ${error}`)
      t.true(error > 0, `${what} is exact, so nothing was rounded`)
    }
    near(result.logits, golden.floats('full/logits'), 'logits')
    near([result.loss], [facts.full.loss], 'loss')
    near(result.imageGradient!, golden.floats('full/grad_input'), 'image gradient')
    for (const [name, values] of golden.group('full/grad/')) near(result.gradients.get(name)!, values, name)
    const { logits } = await session.forward({ images })
    same(t, logits, result.logits)
    await session.close()
  })

const configuration = {
  imageSize: 16,
  patchSize: 8,
  embedDim: 24,
  depth: 2,
  heads: 2,
  channels: 1,
  classes: 4,
} as const
const seedOf = (index: number) => draw(7, Purpose.initialization, 1, index)

/** Four classes of images: stripes across or upright, of one pixel or two, in noise. */
function batchOf(step: number, size = 16) {
  const data = new Uint8Array(size * 256)
  const targets = Int32Array.from({ length: size }, (_, image) => (seedOf(step * size + image)[0] >>> 8) % 4)
  for (let image = 0; image < size; image++)
    for (let pixel = 0; pixel < 256; pixel++) {
      const stripe = ((targets[image]! & 1 ? pixel : pixel >> 4) >> (targets[image]! >> 1)) & 1
      const noise = toUnit(seedOf(100_000 + (step * size + image) * 256 + pixel)[1]) * 120
      data[image * 256 + pixel] = noise + (stripe ? 60 : 0)
    }
  return { images: { data, shape: [size, 16, 16, 1] }, targets }
}

function open(precision: Precision, lossScale: LossScaleOptions = {}): Promise<Session> {
  const model = createModel('vit', configuration)
  return createSession({ device, model, precision, lossScale, optimizer: { averages: [0.9] } })
}

async function trained(precision: Precision, steps: number): Promise<number[]> {
  const session = await open(precision)
  const losses: number[] = []
  for (let step = 0; step < steps; step++)
    losses.push((await session.step({ ...batchOf(step), learningRate: 5e-3, microBatch: 8, step })).loss)
  await session.close()
  return losses
}

const steps = 40
let fullLosses: Promise<number[]> | undefined
/** The same in fp32, trained once. */
const full = () => (fullLosses ??= trained('fp32', steps))
const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length

test('training in reduced precision: learns in fp32', async (t) => {
  const losses = await full()
  t.true(mean(losses.slice(0, 5)) > 1.2 && mean(losses.slice(-10)) < 0.2, String(losses))
})
// Roundings differ by chance from step to step and feed back through training; by 40 steps the losses were up to 0.01
// apart in bf16 and 0.0005 in fp16.
for (const [precision, distance] of [
  ['bf16', 0.02],
  ['fp16', 0.005],
] as const)
  test(`training in reduced precision: ${precision} stays within ${distance} of fp32's loss`, async (t) => {
    const [losses, wanted] = [await trained(precision, steps), await full()]
    for (const [step, loss] of losses.entries())
      t.true(Math.abs(loss - wanted[step]!) <= distance, `step ${step}: ${loss} instead of ${wanted[step]}`)
    t.notDeepEqual(losses, wanted)
  })

const stepAt = (session: Session, step: number): Promise<StepResult> =>
  session.step({ ...batchOf(step), learningRate: 2e-3, step })

test('loss scaling: an overflow skips the step, halves the scale, and is survived', async (t) => {
  const session = await open('fp16', { initial: 2 ** 40 })
  const before = await session.state()
  const first = await stepAt(session, 0)
  t.true(!Number.isFinite(first.gradientNorm) && Number.isFinite(first.loss))
  t.deepEqual(first.lossScale, { scale: 2 ** 39, skippedSteps: 1 })
  const after = await session.state()
  for (const [name, { values }] of before)
    if (name !== 'scaling') same(t, after.get(name)!.values, values, `${name} has changed`)
  let result = first
  for (let step = 1; step < 40 && !Number.isFinite(result.gradientNorm); step++) result = await stepAt(session, step)
  t.true(Number.isFinite(result.gradientNorm))
  t.is(result.lossScale!.scale, 2 ** (40 - result.lossScale!.skippedSteps))
  t.true(result.lossScale!.skippedSteps > 10)
  await session.close()
})

test('loss scaling: the scale doubles after the interval of good steps, and its state is kept', async (t) => {
  const session = await open('fp16', { initial: 8, interval: 3 })
  const scales: number[] = []
  for (let step = 0; step < 2; step++) scales.push((await stepAt(session, step)).lossScale!.scale)
  const restored = await open('fp16', { initial: 8, interval: 3 })
  await restored.restore(await session.state())
  for (let step = 2; step < 7; step++) scales.push((await stepAt(restored, step)).lossScale!.scale)
  t.deepEqual(scales, [8, 8, 16, 16, 16, 32, 32])
  await session.close()
  await restored.close()
})

test('loss scaling: gradients too small for fp16 are lost without scaling and survive with it', async (t) => {
  const { images } = batchOf(0)
  // Targets that differ from the prediction by 1e-6: over a batch of 16 the logits' gradients are near 6e-8, the
  // smallest number of fp16, and further back smaller.
  const near = async (session: Session) => {
    const { logits } = await session.forward({ images })
    const targets = Float32Array.from(logits, (logit, index) => {
      const row = logits.subarray(index - (index % 4), index - (index % 4) + 4)
      const sum = row.reduce((total, value) => total + Math.exp(value), 0)
      return Math.exp(logit) / sum + (index % 2 === 0 ? 1e-6 : -1e-6)
    })
    return session.lossAndGradients({ images, targets })
  }
  const norms: Record<string, number> = {}
  for (const [name, session] of [
    ['fp32', await open('fp32')],
    ['unscaled', await open('fp16', { initial: 1 })],
    ['scaled', await open('fp16')],
  ] as const) {
    const { gradients } = await near(session)
    norms[name] = Math.hypot(...gradients.get('blocks.0.mlp.fc1.weight')!)
    await session.close()
  }
  t.true(norms.fp32! > 0)
  t.is(norms.unscaled, 0)
  t.true(Math.abs(norms.scaled! / norms.fp32! - 1) < 0.2, JSON.stringify(norms))
})

test('loss scaling: is refused where it makes no sense', async (t) => {
  await t.throwsAsync(open('fp16', { initial: 0 }), { message: /lossScale\.initial/ })
  await t.throwsAsync(open('fp16', { interval: 0.5 }), { message: /a positive integer for lossScale\.interval/ })
  await t.throwsAsync(open('fp16', { backoff: 1 }), { message: /lossScale\.backoff/ })
  await t.throwsAsync(open('half' as Precision), { message: /one of fp32, bf16, fp16 for precision/ })
})
