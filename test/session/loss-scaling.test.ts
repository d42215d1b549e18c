import type { Precision } from '../../lib/session/request.js'
import type { Session, StepResult } from '../../lib/session/session.js'
import { same } from '../same.js'
import { test } from '../serial.js'
import { batchOf, device, open } from './stripes.js'

test.after.always(() => device.close())

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
