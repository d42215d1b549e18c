import type { ExecutionContext } from 'ava'
/** Networks with batch norm against float64: a forward and backward pass, statistics, and two steps of the optimizer. */
import type { Model } from '../../lib/models/model.js'
import type { Device } from '../../lib/native.js'
import type { GradientOptions } from '../../lib/session/batch.js'
import type { Session } from '../../lib/session/session.js'
import { createSession } from '../../lib/session/session.js'
import type { Golden } from '../golden.js'
import { assertClose } from '../golden.js'

export interface Expected {
  loss: number
  gradientNorm: number
  box?: [number, number, number, number] | null
  skip?: [stage: number, block: number][]
}

export interface Steps {
  losses: number[]
  gradientNorms: number[]
  learningRates: number[]
  weightDecay: number
  emaDecays: number[]
}

export async function openGolden(
  device: Device,
  model: Model,
  golden: Golden,
  averages: number[] = [],
): Promise<Session> {
  const session = await createSession({ device, model, optimizer: { averages } })
  const state = await session.state()
  for (const [name, values] of golden.group('param/'))
    for (const [key, { values: held }] of state)
      if (key.endsWith(`/${name}`) && /^(weights|ema\d+)\//.test(key)) held.set(values)
  await session.restore(state)
  return session
}

/** Blocks that run where (stage, block) are left out; `sizes` are the blocks of each stage. */
export const without = (skip: readonly [number, number][], sizes: readonly number[]): number[] =>
  sizes
    .flatMap((count, stage) => Array.from({ length: count }, (_, block) => [stage, block] as const))
    .flatMap(([stage, block], index) => (skip.some(([s, b]) => s === stage && b === block) ? [] : [index]))

/** Checks loss, gradients, the image's gradient and the running statistics against the tensors under `tag`. */
export async function checkCase(
  t: ExecutionContext,
  session: Session,
  golden: Golden,
  tag: string,
  expected: Expected,
  options: GradientOptions,
): Promise<void> {
  const result = await session.lossAndGradients({ ...options, imageGradient: true })
  assertClose(t, [result.loss], [expected.loss], 1e-5, `${tag} loss`)
  assertClose(t, [result.gradientNorm], [expected.gradientNorm], 1e-3, `${tag} gradient norm`)
  if (golden.file.tensors.has(`${tag}/grad_input`))
    assertClose(t, result.imageGradient!, golden.floats(`${tag}/grad_input`), 1e-3, `${tag} image gradient`)
  const wanted = golden.group(`${tag}/grad/`)
  t.deepEqual([...result.gradients.keys()].sort(), [...wanted.keys()].sort(), `${tag}: what has a gradient`)
  for (const [name, values] of wanted) assertClose(t, result.gradients.get(name)!, values, 1e-3, `${tag} d ${name}`)
  const logits = golden.file.tensors.has(`${tag}/class_logits`) ? 'class_logits' : 'logits'
  assertClose(t, result.logits, golden.floats(`${tag}/${logits}`), 1e-5, `${tag} logits`)
  if (result.tokenLogits)
    assertClose(t, result.tokenLogits, golden.floats(`${tag}/token_logits`), 1e-5, `${tag} logits of tokens`)
  const parameters = await session.parameters()
  const statistics = golden.group(`${tag}/statistics/`)
  t.true(statistics.size > 0)
  for (const [name, values] of statistics) assertClose(t, parameters.get(name)!, values, 1e-5, `${tag} ${name}`)
}

/** Steps on one batch: losses, weights and statistics, averages and moments after them. */
export async function checkSteps(
  t: ExecutionContext,
  session: Session,
  golden: Golden,
  steps: Steps,
  options: GradientOptions,
): Promise<void> {
  for (const [index, learningRate] of steps.learningRates.entries()) {
    const { loss, gradientNorm } = await session.step({ ...options, learningRate })
    assertClose(t, [loss], [steps.losses[index]!], 1e-4, `loss of step ${index + 1}`)
    assertClose(t, [gradientNorm], [steps.gradientNorms[index]!], 1e-3, `gradient norm of step ${index + 1}`)
  }
  const state = await session.state()
  for (const [group, arena] of [
    [`step${steps.losses.length}/param`, 'weights'],
    ['ema0', 'ema0'],
    ['ema3', 'ema3'],
    ['first_moment', 'moment1'],
    ['second_moment', 'moment2'],
  ] as const) {
    const wanted = golden.group(`steps/${group}/`)
    t.true(wanted.size > 0, group)
    for (const [name, values] of wanted)
      assertClose(t, state.get(`${arena}/${name}`)!.values as Float32Array, values, 1e-3, `${group} ${name}`)
  }
}
