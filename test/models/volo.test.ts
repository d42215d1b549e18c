import { createModel } from '../../lib/models/registry.js'
import type { VoloConfiguration } from '../../lib/models/volo.js'
import type { GradientOptions } from '../../lib/session/batch.js'
import { openTestDevice } from '../device.js'
import { assertClose, goldenJson, goldenTensors } from '../golden.js'
import { test } from '../serial.js'
import type { Expected, Steps } from './golden-networks.js'
import { checkCase, checkSteps, openGolden, without } from './golden-networks.js'

interface VoloMicro {
  model: VoloConfiguration
  mean: number[]
  std: number[]
  train: Expected
  mixToken: Expected
  skipped: Expected
  lowResolution: Expected & { resolution: number }
  steps: Steps
}

const device = await openTestDevice()
const golden = await goldenTensors('volo_micro')
const facts = await goldenJson<VoloMicro>('volo_micro')
test.after.always(() => device.close())
const model = createModel('volo', { ...facts.model, mean: facts.mean, deviation: facts.std })
const images = { data: golden.bytes('input/images'), shape: golden.shape('input/images') }
const batch: GradientOptions = {
  images,
  targets: golden.floats('input/class_targets'),
  tokenTargets: golden.floats('input/token_targets'),
}

test('volo against float64: evaluation: the class token, and half of the best token', async (t) => {
  const session = await openGolden(device, model, golden)
  const { logits, tokenLogits } = await session.forward({ images })
  assertClose(t, tokenLogits!, golden.floats('eval/token_logits'), 1e-5, 'logits of tokens')
  assertClose(t, logits, golden.floats('eval/logits'), 1e-5, 'logits')
  await session.close()
})
for (const [tag, expected] of [
  ['train', facts.train],
  ['mix_token', facts.mixToken],
  ['skipped', facts.skipped],
] as const)
  test(`volo against float64: ${tag}`, async (t) => {
    const session = await openGolden(device, model, golden)
    const layers = without(expected.skip ?? [], facts.model.layers)
    await checkCase(t, session, golden, tag, expected, { ...batch, layers, mixBox: expected.box ?? null })
    await session.close()
  })
test('volo against float64: a lower resolution', async (t) => {
  const session = await openGolden(device, model, golden)
  const small = { data: golden.bytes('low_resolution/images'), shape: golden.shape('low_resolution/images') }
  const tokenTargets = golden.floats('low_resolution/token_targets')
  await checkCase(t, session, golden, 'low_resolution', facts.lowResolution, { ...batch, images: small, tokenTargets })
  await session.close()
})
test('volo against float64: steps of the optimizer', async (t) => {
  const session = await openGolden(device, model, golden, facts.steps.emaDecays)
  await checkSteps(t, session, golden, facts.steps, { ...batch, mixBox: facts.mixToken.box! })
  await session.close()
})

test('what cannot be', async (t) => {
  const wrong = (part: Partial<VoloConfiguration>, message: RegExp) =>
    t.throws(() => createModel('volo', { ...facts.model, ...part }), { code: 'CONFIG', message })
  wrong({ layers: [2] }, /as many embedDims and heads/)
  wrong({ embedDims: [16, 32, 48] }, /one width/)
  wrong({ imageSize: 72 }, /multiple of 16/)
  wrong({ embedDims: [15, 32, 32] }, /multiples of the heads/)
  t.throws(() => model.withBlocks([0, 3]), { code: 'CONFIG' })
  const session = await openGolden(device, model, golden)
  await t.throwsAsync(session.forward({ images, resolution: 40 }), { code: 'CONFIG', message: /multiple of 16/ })
  await t.throwsAsync(session.forward({ images, mixBox: [0, 0, 5, 2] }), { code: 'CONFIG', message: /0 to 4/ })
  await t.throwsAsync(session.forward({ images, mixBox: [0, 0, 1, 1], mix: { lambda: 0.5 } }), { code: 'CONFIG' })
  const tokenTargets = new Float32Array(3)
  await t.throwsAsync(session.forward({ images, targets: batch.targets, tokenTargets }), { code: 'SHAPE' })
  await session.close()
})
