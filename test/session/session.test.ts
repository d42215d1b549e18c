import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { createModel } from '../../lib/models/registry.js'
import { writeTensors } from '../../lib/models/tensor-file.js'
import type { VitConfiguration } from '../../lib/models/vit.js'
import type { OptimizerOptions } from '../../lib/session/options.js'
import type { Session } from '../../lib/session/session.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'
import { checkError } from '../error.js'
import type { Golden } from '../golden.js'
import { assertClose, goldenJson, goldenTensors } from '../golden.js'
import { different, same } from '../same.js'
import { test } from '../serial.js'

interface Trained {
  losses: number[]
  gradientNorms: number[]
  learningRates: number[]
  weightDecay: number
  clipGradientNorm: number | null
  emaDecays: number[]
}
interface Facts {
  model: VitConfiguration
  mean: number[]
  std: number[]
  train: Trained
  clipped: Trained
  labelSmoothing: number
  stochasticDepth: { keepProbability: number[]; loss: number }
}

const device = await openTestDevice()
const golden = await goldenTensors('vit_optimizer')
const facts = await goldenJson<Facts>('vit_optimizer')
const trajectory = await goldenTensors('vit_trajectory')
const trajectoryFacts = await goldenJson<Facts>('vit_trajectory')
test.after.always(() => device.close())

async function openGolden(
  golden: Golden,
  facts: Facts,
  optimizer: OptimizerOptions,
  labelSmoothing = 0,
): Promise<Session> {
  const model = createModel('vit', { ...facts.model, mean: facts.mean, deviation: facts.std })
  const session = await createSession({ device, model, optimizer, labelSmoothing })
  const state = await session.state()
  for (const [name, values] of golden.group('param/'))
    for (const [key, stored] of state)
      if (/^(weights|ema\d)\//.test(key) && key.endsWith(`/${name}`) && key.split('/')[1] === name)
        stored.values.set(values)
  await session.restore(state)
  return session
}

/** The key third of a query-key-value bias has a zero gradient in mathematics; Adam amplifies its rounding noise. */
function withoutKeyBias(name: string, values: Float32Array): Float32Array {
  if (!name.endsWith('attn.qkv.bias')) return values
  const third = values.length / 3
  return Float32Array.from([...values.slice(0, third), ...values.slice(2 * third)])
}

async function checkState(
  t: ExecutionContext,
  session: Session,
  golden: Golden,
  arena: string,
  prefix: string,
  r: number,
) {
  const state = await session.state()
  const wanted = golden.group(prefix)
  t.true(wanted.size > 0, prefix)
  for (const [name, values] of wanted)
    assertClose(
      t,
      withoutKeyBias(name, state.get(`${arena}/${name}`)!.values as Float32Array),
      withoutKeyBias(name, values),
      r,
      `${prefix}${name}`,
    )
}

const batchOf = (step: number) => {
  const tag = `train/step${step}`
  return {
    images: { data: golden.bytes(`${tag}/images`), shape: golden.shape(`${tag}/images`) },
    targets: golden.floats(`${tag}/targets`),
  }
}

test('optimizer against float64: weights, moments and averages after each listed step', async (t) => {
  const { losses, gradientNorms, learningRates, weightDecay, emaDecays } = facts.train
  const session = await openGolden(golden, facts, { weightDecay, averages: emaDecays })
  for (const [index, learningRate] of learningRates.entries()) {
    const result = await session.step({ ...batchOf(index + 1), learningRate })
    assertClose(t, [result.loss], [losses[index]!], 1e-4, `loss ${index}`)
    assertClose(t, [result.gradientNorm], [gradientNorms[index]!], 1e-4, `norm ${index}`)
    if (golden.group(`train/step${index + 1}/param/`).size > 0)
      await checkState(t, session, golden, 'weights', `train/step${index + 1}/param/`, 1e-4)
  }
  await checkState(t, session, golden, 'moment1', 'train/first_moment/', 1e-4)
  await checkState(t, session, golden, 'moment2', 'train/second_moment/', 1e-4)
  for (const index of emaDecays.keys()) await checkState(t, session, golden, `ema${index}`, `train/ema${index}/`, 1e-4)
  await session.close()
})

test('optimizer against float64: clipping, also where the norm lies below the limit', async (t) => {
  const { losses, gradientNorms, learningRates, weightDecay, clipGradientNorm } = facts.clipped
  const session = await openGolden(golden, facts, { weightDecay, clip: clipGradientNorm })
  for (const [index, learningRate] of learningRates.entries()) {
    const targets =
      index === learningRates.length - 1 ? golden.floats('clipped/last_targets') : batchOf(index + 1).targets
    const result = await session.step({ ...batchOf(index + 1), targets, learningRate })
    assertClose(t, [result.loss], [losses[index]!], 1e-4, `loss ${index}`)
    assertClose(t, [result.gradientNorm], [gradientNorms[index]!], 1e-4, `norm ${index}`)
  }
  await checkState(t, session, golden, 'weights', `clipped/step${learningRates.length}/param/`, 1e-4)
  await checkState(t, session, golden, 'moment1', 'clipped/first_moment/', 1e-4)
  await session.close()
})

test('optimizer against float64: stochastic depth with masks that differ in every branch', async (t) => {
  const session = await openGolden(golden, facts, {})
  const { keepProbability, loss } = facts.stochasticDepth
  const result = await session.lossAndGradients({
    ...batchOf(1),
    keepMask: golden.bytes('stochastic_depth/keep'),
    keepProbability,
  })
  assertClose(t, [result.loss], [loss], 1e-5, 'loss')
  assertClose(t, result.logits, golden.floats('stochastic_depth/logits'), 1e-5, 'logits')
  const wanted = golden.group('stochastic_depth/grad/')
  t.true(wanted.size > 0)
  for (const [name, values] of wanted) assertClose(t, result.gradients.get(name)!, values, 1e-4, name)
  await session.close()
})

for (const microBatch of [8, 4, 2])
  test(`a trajectory of 20 steps against float64: in micro-batches of ${microBatch}`, async (t) => {
    const { losses, learningRates, weightDecay, emaDecays } = trajectoryFacts.train
    const session = await openGolden(
      trajectory,
      trajectoryFacts,
      { weightDecay, averages: emaDecays },
      trajectoryFacts.labelSmoothing,
    )
    const [steps, batch, height, width, channels] = trajectory.shape('input/images') as [
      number,
      number,
      number,
      number,
      number,
    ]
    const size = batch * height * width * channels
    // The emulated device takes a minute for all of it: once is enough there, the other sizes follow it for a while.
    const end = device.kind === 'cuda-emulated' && microBatch !== 4 ? 5 : steps
    for (let step = 0; step < end; step++) {
      const data = trajectory.bytes('input/images').slice(step * size, (step + 1) * size)
      const targets = trajectory.ints('input/labels').slice(step * batch, (step + 1) * batch)
      const result = await session.step({
        images: { data, shape: [batch, height, width, channels] },
        targets,
        learningRate: learningRates[step]!,
        microBatch,
      })
      assertClose(t, [result.loss], [losses[step]!], 1e-4, `loss ${step}`)
    }
    if (end < steps) return session.close()
    await checkState(t, session, trajectory, 'weights', `train/step${steps}/param/`, 1e-3)
    for (const index of [0, 3]) await checkState(t, session, trajectory, `ema${index}`, `train/ema${index}/`, 1e-3)
    await session.close()
  })

const configuration: VitConfiguration = {
  imageSize: 16,
  patchSize: 8,
  embedDim: 12,
  depth: 3,
  heads: 2,
  channels: 1,
  classes: 4,
}
const images = { data: Uint8Array.from({ length: 4 * 256 }, (_, index) => (index * 37) % 251), shape: [4, 16, 16, 1] }
const targets = Int32Array.of(0, 1, 2, 3)
const open = (seed = 0) =>
  createSession({ device, model: createModel('vit', configuration), seed, optimizer: { averages: [0.9, 0.99] } })

test('a session: saves weights that another session loads', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'autoprog-'))
  const [first, second] = [await open(1), await open(2)]
  await first.step({ images, targets, learningRate: 0.01 })
  await first.save(join(folder, 'weights.safetensors'))
  await second.load(join(folder, 'weights.safetensors'))
  same(t, await second.parameters(), await first.parameters())
  same(t, await second.parameters('ema1'), await first.parameters())
  same(t, (await second.forward({ images })).logits, (await first.forward({ images })).logits)
  await rm(folder, { recursive: true })
  await first.close()
  await second.close()
})

test('a session: a state that does not fit changes nothing', async (t) => {
  const session = await open(1)
  await session.step({ images, targets, learningRate: 0.01 })
  const before = await session.state()
  const of = async (numbers: Partial<VitConfiguration>, averages = [0.9, 0.99]) => {
    const other = await createSession({
      ...{ device, seed: 2, model: createModel('vit', { ...configuration, ...numbers }) },
      optimizer: { averages },
    })
    const state = await other.state()
    await other.close()
    return state
  }
  const turned = new Map(before)
  const { shape, values } = before.get('ema1/blocks.2.mlp.fc1.weight')!
  turned.set('ema1/blocks.2.mlp.fc1.weight', { shape: shape.toReversed(), values })
  const lacking = new Map(before)
  lacking.delete('steps/head.bias')
  const cases: [Awaited<ReturnType<typeof session.state>>, RegExp][] = [
    [await of({ depth: 4 }), /^The state does not fit vit:\n {2}weights\/blocks\.3\.norm1\.weight is not part of it\n/],
    [await of({ depth: 2 }), /\n {2}weights\/blocks\.2\.norm1\.weight is missing\n/],
    [
      await of({ embedDim: 16 }),
      /cls_token has values Float32Array of length 16 instead of Float32Array of length 12\n/,
    ],
    [await of({}, [0.9, 0.99, 0.999]), /ema2\/cls_token is not part of it\n/],
    [await of({}, [0.9]), /ema1\/cls_token is missing\n/],
    [turned, /:\n {2}ema1\/blocks\.2\.mlp\.fc1\.weight has shape \[12, 48\] \(array\) instead of \[48, 12\]$/],
    [lacking, /:\n {2}steps\/head\.bias is missing$/],
    [new Map([...before, ['weights/extra', before.get('scaling')!]]), /:\n {2}weights\/extra is not part of it$/],
  ]
  for (const [state, message] of cases) {
    const error = checkError(t, await t.throwsAsync(session.restore(state)), {
      ...{ code: 'CHECKPOINT', message, hint: /same network.*session\.load/ },
    })
    t.true(error.message.split('\n').length <= 10)
    same(t, await session.state(), before)
  }
  await session.close()
})

test('a session: a checkpoint is loaded by any of its copies, or changes nothing', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'autoprog-'))
  const [first, second] = [await open(1), await open(2)]
  await first.step({ images, targets, learningRate: 0.01 })
  const path = join(folder, 'checkpoint.safetensors')
  const state = await first.state()
  await writeTensors(path, state as Parameters<typeof writeTensors>[1])
  await second.load(path)
  same(t, await second.parameters(), await first.parameters())
  await second.load(path, 'ema1')
  same(t, await second.parameters(), await first.parameters('ema1'))
  const before = await second.state()
  state.delete('weights/norm.bias')
  await writeTensors(path, state as Parameters<typeof writeTensors>[1])
  checkError(t, await t.throwsAsync(second.load(path)), {
    code: 'CHECKPOINT',
    message: /:\n {2}norm\.bias is missing$/,
  })
  checkError(t, await t.throwsAsync(second.load(path, 'ema2')), {
    code: 'CHECKPOINT',
    message: /holds no average ema2/,
  })
  same(t, await second.state(), before)
  await rm(folder, { recursive: true })
  await first.close()
  await second.close()
})

test('a session: a skipped block keeps its weights, moments and step count', async (t) => {
  const session = await open()
  const before = await session.state()
  await session.step({ images, targets, learningRate: 0.01, layers: [0, 2] })
  const later = await session.state()
  for (const [key, { values }] of before) {
    if (key.startsWith('ema') || key === 'scaling') continue
    const skipped = key.includes('/blocks.1.')
    const changed = values.some((value, index) => value !== later.get(key)!.values[index])
    // The key third of qkv biases may stay at zero by luck of rounding; all else that ran must move.
    if (skipped || !key.endsWith('qkv.bias')) t.is(changed, !skipped, key)
  }
  await session.close()
})

test('a session: growing by the identity changes nothing; by repetition it follows the sources', async (t) => {
  const session = await open()
  await session.step({ images, targets, learningRate: 0.01 })
  const before = await session.state()
  const { logits } = await session.forward({ images })
  await session.grow([0, 1, 2].map((source) => ({ source, added: false })))
  same(t, await session.state(), before)
  same(t, (await session.forward({ images })).logits, logits)
  await session.grow(
    [
      { source: 0, added: false },
      { source: 1, added: false },
      { source: 1, added: true },
      { source: 2, added: false },
    ],
    {
      fromAverage: 'added',
      moments: 'restart',
    },
  )
  const grown = await session.state()
  same(t, grown.get('weights/blocks.1.mlp.fc1.weight'), before.get('weights/blocks.1.mlp.fc1.weight'))
  same(t, grown.get('weights/blocks.2.mlp.fc1.weight'), before.get('ema1/blocks.1.mlp.fc1.weight'))
  same(t, grown.get('ema0/blocks.3.mlp.fc1.weight'), before.get('ema0/blocks.2.mlp.fc1.weight'))
  t.true(grown.get('moment1/head.weight')!.values.every((value) => value === 0))
  // The kept blocks alone are the network from before.
  const shallow = await session.forward({ images, layers: [0, 1, 3] })
  same(t, shallow.logits, logits)
  await session.close()
})

test('a session: stochastic depth is drawn by seed and step, whatever the micro-batch', async (t) => {
  const session = await open()
  const run = (step: number, microBatch: number) => session.forward({ images, stochasticDepth: 0.5, step, microBatch })
  const [a, b, c] = [await run(1, 4), await run(1, 2), await run(2, 4)]
  assertClose(t, a.logits, b.logits, 1e-5, 'logits') // products of other sizes round differently
  different(t, a.logits, c.logits)
  await session.close()
})

test('a session: what is closed says so; closing twice is harmless', async (t) => {
  const session = await open()
  await session.close()
  await session.close()
  await t.throwsAsync(session.forward({ images }), { message: /The session is closed/ })
  await t.throwsAsync(session.parameters(), { message: /The session is closed/ })
})

test('a session: wrong arguments are named', async (t) => {
  const session = await open()
  const reject = (promise: Promise<unknown>, pattern: RegExp) => t.throwsAsync(promise, { message: pattern })
  const step = { images, targets, learningRate: 0.1 }
  await reject(
    session.step({ ...step, images: { data: images.data, shape: [4, 16, 16, 3] } }),
    /\[batch, height, width, 1\] for the shape of images/,
  )
  await reject(
    session.step({ ...step, images: { data: images.data.slice(1), shape: images.shape } }),
    /length 1024 for the data of images but received Uint8Array of length 1023/,
  )
  await reject(session.step({ ...step, targets: Int32Array.of(0, 1, 2) }), /Int32Array of length 4/)
  await reject(session.step({ ...step, targets: Int32Array.of(0, 1, 2, 4) }), /class indices from 0 to 3/)
  await reject(session.step({ ...step, layers: [2, 1] }), /ascending block indices/)
  await reject(session.step({ ...step, layers: [3] }), /ascending block indices/)
  await reject(session.step({ ...step, resolution: 20 }), /a multiple of 8 pixels/)
  await reject(session.step({ ...step, microBatch: 3 }), /an even divisor of the batch 4/)
  await reject(session.step({ ...step, learningRate: Number.NaN }), /a non-negative number for learningRate/)
  await reject(session.step({ ...step, stochasticDepth: 1 }), /from 0 to below 1 for stochasticDepth/)
  await reject(session.forward({ images, weights: 'ema2' }), /one of 2 averages/)
  await reject(session.grow([{ source: 3, added: false }]), /sources among blocks 0 to 2/)
  await session.step(step)
  await session.close()
})
