import { adapt } from '../../lib/cli/adapt.js'
import { loadRecipe } from '../../lib/cli/recipe.js'
import { AutoprogError } from '../../lib/errors.js'
import { type Override, resolveConfig } from '../../lib/recipe/config.js'
import { test } from '../serial.js'

const given = (values: Record<string, unknown>): Override[] =>
  Object.entries(values).map(([path, value]) => ({ path, value }))

test('own images: the warm-up follows fewer epochs than it has, in proportion, and says so', (t) => {
  const { config, notices } = loadRecipe('own-images', { data: 'photos', epochs: 2 })
  t.is(config.learningRate.warmupEpochs, 0.1)
  t.deepEqual(notices, ['the warm-up was shortened from 3 of 60 epochs to 0.1 of 2 (learningRate.warmupEpochs)'])
  const longer = loadRecipe('own-images', { data: 'photos', epochs: 3 })
  t.is(longer.config.learningRate.warmupEpochs, 3)
  t.deepEqual(longer.notices, [])
})

test('own images: a network without branches trains without stochastic depth, and says so', (t) => {
  const { config, notices } = loadRecipe('own-images', {
    data: 'photos',
    model: 'resnet18',
    epochs: 1,
    resolution: undefined,
  })
  t.is(config.regularization.stochasticDepth, 0)
  t.is(config.learningRate.warmupEpochs, 0.05)
  t.is(notices.length, 2)
  t.regex(notices[1]!, /resnet18 has no stochastic depth.*regularization\.stochasticDepth/)
  const branched = loadRecipe('own-images', { data: 'photos', model: 'deit_tiny_patch16_224' })
  t.is(branched.config.regularization.stochasticDepth, 0.05)
  t.deepEqual(branched.notices, [])
})

test('what was given itself does not give way', (t) => {
  const set = (text: string, value: unknown) => ({ set: [{ path: text, value }] })
  for (const options of [
    { epochs: 2, ...set('learningRate.warmupEpochs', 3) },
    { epochs: 2, ...set('learningRate', { warmupEpochs: 3 }) },
    { model: 'resnet18', ...set('regularization.stochasticDepth', 0.1) },
    { model: 'resnet18', ...set('regularization.adaptive', 'd0') },
  ])
    t.throws(() => loadRecipe('own-images', { data: 'photos', ...options }), {
      instanceOf: AutoprogError,
      code: 'CONFIG',
    })
})

test('a mistake that nothing can give way to is told as it is', (t) => {
  const load = (overrides: readonly Override[]) => {
    const of = (key: string) => overrides.findLast(({ path }) => path === key)?.value
    const warmupEpochs = of('learningRate.warmupEpochs') ?? 5
    const given = { model: of('model') ?? 'auto', epochs: of('epochs') ?? 20, batch: of('batch') ?? 128 }
    return resolveConfig({ data: 'photos', learningRate: { warmupEpochs }, ...given })
  }
  t.throws(() => adapt(load, given({ epochs: -2 })), { message: /positive integer for epochs/ })
  t.throws(() => adapt(load, given({ epochs: 2, batch: 7 })), { message: /even integer.*for batch/ })
  t.is(adapt(load, given({ epochs: 2 })).config.learningRate.warmupEpochs, 0.5)
})

test('--validation and --deterministic stand for their keys', (t) => {
  const { config } = loadRecipe('own-images', { data: 'photos', validation: 0.25, deterministic: true })
  t.is(config.validation, 0.25)
  t.true(config.deterministic)
  t.is(loadRecipe('own-images', { data: 'photos' }).config.validation, 0.1)
})
