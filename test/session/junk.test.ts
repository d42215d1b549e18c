import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { AutoprogError, createModel, createSession, modelNames, openDevice } from '../../lib/index.js'
import { draw, Purpose, toInteger } from '../../lib/random.js'
import { openTestDevice } from '../device.js'
import { assail, junk, spoilt, Thrown } from '../junk.js'
import { test } from '../serial.js'

const device = await openTestDevice()
const folder = await mkdtemp(join(tmpdir(), 'autoprog-junk-'))
const model = createModel('vit', { imageSize: 16, patchSize: 8, embedDim: 8, depth: 2, heads: 2, classes: 3 })
const session = await createSession({ device, model, optimizer: { averages: [0.9] } })
const weights = join(folder, 'weights.safetensors')
await session.save(weights)
const state = await session.state()
test.after.always(async () => {
  await session.close()
  await device.close()
  await rm(folder, { recursive: true })
})

const batch = () => ({
  images: { data: new Uint8Array(2 * 768), shape: [2, 16, 16, 3], crops: new Int32Array(6), pad: 0 },
  ...{ targets: Int32Array.of(0, 1), resolution: 16, layers: [0, 1], microBatch: 2, step: 1 },
})

test('junk for a session: every method refuses it with a code', async (t) => {
  const common = { ...batch(), erase: new Int32Array(8), mix: { lambda: 0.5 } }
  const depth = { keepMask: new Uint8Array(8).fill(1), keepProbability: [1, 1] }
  await assail(
    t,
    'forward',
    session.forward,
    [{ ...common, ...depth, weights: 'ema0', mode: 'train', positions: true }],
    3,
  )
  await assail(t, 'lossAndGradients', session.lossAndGradients, [{ ...common, imageGradient: true }])
  await assail(t, 'step', session.step, [{ ...batch(), stochasticDepth: 0.1, learningRate: 0.1 }], 1)
  await assail(t, 'parameters', session.parameters, ['ema0'])
  await assail(t, 'load', session.load, [weights, 'model'])
  const save = (path: unknown, name: never) =>
    session.save((typeof path === 'string' && path !== '' ? join(folder, path) : path) as string, name)
  await assail(t, 'save', save as never, ['saved.safetensors', 'ema0'])
  const layers = [0, 1].map((source) => ({ source, added: false }))
  const growth = { blocks: [2], fromAverage: 'all', moments: 'grow', occasion: 1 }
  await assail(t, 'grow', session.grow, [layers, growth])
  await assail(t, 'restore', session.restore, [state], 1)
  const { logits } = await session.forward(batch())
  t.is(logits.length, 6)
})

test('junk in a state: it is refused before anything changes', async (t) => {
  await session.restore(state)
  for (const name of ['weights/head.bias', 'ema0/head.bias', 'steps/head.bias', 'scaling'])
    for (const values of junk) {
      const entry = { shape: [1], values: values as Float32Array }
      await t.throwsAsync(session.restore(new Map([...state, [name, entry]])), { code: 'CHECKPOINT' }, name)
    }
  await t.throwsAsync(session.restore(new Map([...state, ['scaling', null as never]])), { code: 'CHECKPOINT' })
  t.deepEqual(await session.state(), state)
})

test('junk for a session to be, for models and for devices is refused with a code', async (t) => {
  const options = {
    ...{ device, model, precision: 'fp32', seed: 1, labelSmoothing: 0.1, classWeight: 1, denseWeight: 1 },
    lossScale: { initial: 8, interval: 3, growth: 2, backoff: 0.5 },
    optimizer: { betas: [0.9, 0.99], epsilon: 1e-8, weightDecay: 0.1, clip: 1, averages: [0.9] },
  }
  const open = async (given: never) => (await createSession(given)).close()
  for (const [key, value] of Object.entries(options))
    for (const other of spoilt(key === 'device' || key === 'model' ? undefined : value, 2))
      await settle(t, open, { ...options, [key]: other })
  await assail(t, 'createSession', open, [undefined], 0)
  for (const kind of ['vit', 'volo', 'resnet'] as const) {
    const numbers = {
      vit: { patchSize: 8, embedDim: 8, depth: 2, heads: 2, mlpRatio: 4, initialization: 'timm', mean: [1, 1, 1] },
      volo: { layers: [1, 1], embedDims: [8, 8], heads: [2, 2] },
      resnet: { block: 'basic', layers: [1, 1], channels: [8, 8] },
    }[kind]
    await assail(t, kind, createModel, [kind, { imageSize: 32, classes: 3, ...numbers }], 2)
  }
  await assail(t, 'createModel', createModel, ['vit_micro', { classes: 3, channels: 1 }])
  await assail(t, 'withBlocks', model.withBlocks, [[2]])
  await assail(t, 'withData', model.withData, [{ classes: 4, channels: 3 }])
  await assail(t, 'flops', model.flops, [{ blocks: [1], resolution: 16 }])
  await assail(t, 'parameterCount', model.parameterCount, [[1]])
  await assail(t, 'blockPrefix', model.blockPrefix, [0])
  t.true(modelNames().length > 3)
  await assail(t, 'measureGemm', device.measureGemm, [1, 1, 1])
  const openAndClose = async (...given: never[]) => (await openDevice(...(given as []))).close()
  await assail(t, 'openDevice', openAndClose, ['cpu', { threads: 1, tf32: false }])
})

/** One call that may succeed, or fail with a code. */
async function settle(t: ExecutionContext, call: (given: never) => unknown, given: unknown) {
  try {
    await call(given as never)
  } catch (error) {
    if (!(error instanceof AutoprogError || error instanceof Thrown)) t.fail(String((error as Error)?.stack ?? error))
  }
}

test('junk is refused the same by calls that wait for another', async (t) => {
  const running = session.forward(batch())
  const words = draw(1, Purpose.order, 0, 0)
  const some = Array.from(
    { length: 60 },
    (_, index) => junk[toInteger((words[index % 4]! + index * 2654435761) >>> 0, junk.length)],
  )
  const outcomes = await Promise.allSettled(
    some.map((value) => session.forward({ images: value, mix: value, labelMaps: value } as never)),
  )
  await running
  for (const outcome of outcomes)
    t.true(
      outcome.status === 'rejected' && (outcome.reason instanceof AutoprogError || outcome.reason instanceof Thrown),
    )
})
