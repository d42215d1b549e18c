import { createModel } from '../../lib/models/registry.js'
import type { ResnetConfiguration } from '../../lib/models/resnet.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'
import { assertClose, goldenJson, goldenTensors } from '../golden.js'
import { same } from '../same.js'
import { test } from '../serial.js'
import type { Expected, Steps } from './golden-networks.js'
import { checkCase, checkSteps, openGolden, without } from './golden-networks.js'

interface ResnetMicro {
  model: ResnetConfiguration
  mean: number[]
  std: number[]
  train: Expected
  skipped: Expected
  lowResolution: Expected & { resolution: number }
  steps: Steps
}

const device = await openTestDevice()
const golden = await goldenTensors('resnet_micro')
const facts = await goldenJson<ResnetMicro>('resnet_micro')
test.after.always(() => device.close())
const model = createModel('resnet', { ...facts.model, mean: facts.mean, deviation: facts.std })
const images = { data: golden.bytes('input/images'), shape: golden.shape('input/images') }
const batch = { images, targets: golden.floats('input/targets') }

test('resnet against float64: evaluation', async (t) => {
  const session = await openGolden(device, model, golden)
  const { logits } = await session.forward({ images })
  assertClose(t, logits, golden.floats('eval/logits'), 1e-5, 'logits')
  await session.close()
})
test('resnet against float64: training', async (t) => {
  const session = await openGolden(device, model, golden)
  await checkCase(t, session, golden, 'train', facts.train, batch)
  await session.close()
})
test('resnet against float64: a block left out', async (t) => {
  const session = await openGolden(device, model, golden)
  const layers = without(facts.skipped.skip!, facts.model.layers)
  await checkCase(t, session, golden, 'skipped', facts.skipped, { ...batch, layers })
  await session.close()
})
test('resnet against float64: a lower resolution', async (t) => {
  const session = await openGolden(device, model, golden)
  const small = { data: golden.bytes('low_resolution/images'), shape: golden.shape('low_resolution/images') }
  await checkCase(t, session, golden, 'low_resolution', facts.lowResolution, { ...batch, images: small })
  await session.close()
})
test('resnet against float64: steps of the optimizer', async (t) => {
  const session = await openGolden(device, model, golden, facts.steps.emaDecays)
  await checkSteps(t, session, golden, facts.steps, batch)
  await session.close()
})

test("scoring in training's mode takes the batch's statistics and moves nothing", async (t) => {
  const session = await openGolden(device, model, golden)
  const { logits } = await session.forward({ images, mode: 'train' })
  assertClose(t, logits, golden.floats('train/logits'), 1e-5, 'logits')
  const parameters = await session.parameters()
  for (const [name, values] of golden.group('param/')) same(t, parameters.get(name), values, name)
  await session.close()
})

test('what cannot be', async (t) => {
  const wrong = (part: Partial<ResnetConfiguration>, message: RegExp) =>
    t.throws(() => createModel('resnet', { ...facts.model, ...part }), { code: 'CONFIG', message })
  wrong({ block: 'other' as 'basic' }, /basic or bottleneck/)
  wrong({ layers: [1, 0, 1, 1] }, /layers of the resnet/)
  wrong({ channels: [4, 8] }, /4 widths/)
  wrong({ imageChannels: 2 as 1 }, /1 or 3/)
  const session = await createSession({ device, model })
  await t.throwsAsync(session.forward({ images, layers: [1, 2, 3, 4] }), {
    code: 'SHAPE',
    message: /first of stage 1/,
  })
  await t.throwsAsync(session.forward({ images, stochasticDepth: 0.1 }), {
    code: 'CONFIG',
    message: /stochastic depth/,
  })
  await t.throwsAsync(session.forward({ images, mixBox: [0, 0, 1, 1] }), {
    code: 'CONFIG',
    message: /head for tokens/,
  })
  await session.close()
})
