import type { ExecutionContext } from 'ava'
import { createModel } from '../../lib/models/registry.js'
import type { VitConfiguration } from '../../lib/models/vit.js'
import type { Session } from '../../lib/session/session.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'
import type { Golden } from '../golden.js'
import { assertClose, goldenJson, goldenTensors } from '../golden.js'
import { test } from '../serial.js'

interface VitMicro {
  model: VitConfiguration
  mean: number[]
  std: number[]
  full: { loss: number; gradientNorm: number }
  resolutions: Record<string, { loss: number; gradientNorm: number }>
  layers: { tag: string; layers: number[]; loss: number; gradientNorm: number }[]
  stochasticDepth: { keepProbability: number[]; loss: number; gradientNorm: number }
}

const device = await openTestDevice()
const golden = await goldenTensors('vit_micro')
const facts = await goldenJson<VitMicro>('vit_micro')
test.after.always(() => device.close())

async function openMicro(): Promise<Session> {
  const model = createModel('vit', { ...facts.model, mean: facts.mean, deviation: facts.std })
  const session = await createSession({ device, model })
  const state = await session.state()
  for (const [name, values] of golden.group('param/')) state.get(`weights/${name}`)!.values.set(values)
  await session.restore(state)
  return session
}

/** Checks logits, loss, all gradients and the image's against the tensors under `tag`. */
async function checkCase(
  t: ExecutionContext,
  tag: string,
  expected: { loss: number; gradientNorm: number },
  options: object,
  images = 'input/images',
) {
  const session = await openMicro()
  const result = await session.lossAndGradients({
    images: { data: golden.bytes(images), shape: golden.shape(images) },
    targets: golden.floats('input/targets'),
    imageGradient: true,
    ...options,
  })
  assertClose(t, result.logits, golden.floats(`${tag}/logits`), 1e-5, `${tag} logits`)
  assertClose(t, [result.loss], [expected.loss], 1e-5, `${tag} loss`)
  assertClose(t, [result.gradientNorm], [expected.gradientNorm], 1e-4, `${tag} gradient norm`)
  assertClose(t, result.imageGradient!, golden.floats(`${tag}/grad_input`), 1e-4, `${tag} image gradient`)
  checkGradients(t, golden, `${tag}/grad/`, result.gradients)
  const { logits } = await session.forward({
    images: { data: golden.bytes(images), shape: golden.shape(images) },
    ...options,
  })
  assertClose(t, logits, golden.floats(`${tag}/logits`), 1e-5, `${tag} logits without gradients`)
  await session.close()
}

function checkGradients(t: ExecutionContext, from: Golden, prefix: string, gradients: Map<string, Float32Array>) {
  const wanted = from.group(prefix)
  t.deepEqual([...gradients.keys()].sort(), [...wanted.keys()].sort(), `${prefix}: the parameters that have a gradient`)
  for (const [name, values] of wanted) assertClose(t, gradients.get(name)!, values, 1e-4, `${prefix}${name}`)
}

test('vit against float64: full network', (t) => checkCase(t, 'full', facts.full, {}))
for (const [resolution, expected] of Object.entries(facts.resolutions))
  test(`vit against float64: resolution ${resolution}`, (t) =>
    checkCase(t, `resolution${resolution}`, expected, {}, `resolution${resolution}/images`))
for (const { tag, layers, ...expected } of facts.layers)
  test(`vit against float64: only layers ${layers}`, (t) => checkCase(t, tag, expected, { layers }))
test('vit against float64: stochastic depth with given masks', (t) => {
  const { keepProbability, ...expected } = facts.stochasticDepth
  return checkCase(t, 'stochastic_depth', expected, {
    keepMask: golden.bytes('stochastic_depth/keep'),
    keepProbability,
  })
})
