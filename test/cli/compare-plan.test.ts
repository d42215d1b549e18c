import { missingSchemes, planRuns, sameConfig, shortenedOriginal } from '../../lib/cli/compare-plan.js'
import { resolveConfig } from '../../lib/recipe/config.js'
import { summary } from '../report/fixtures.js'
import { test } from '../serial.js'

const config = resolveConfig({
  data: 'mnist',
  model: 'vit_micro',
  seed: 3,
  learningRate: { warmupEpochs: 2, cooldownEpochs: 4 },
  schedule: { lengths: [1, 1, 1, 2] },
})

test('runs go seed by seed, the control last within each', (t) => {
  t.deepEqual(
    planRuns(['original-short', 'original', 'autoprog', 'original'], [0, 2, 0]).map(
      ({ scheme, seed }) => `${scheme}-${seed}`,
    ),
    ['original-0', 'autoprog-0', 'original-short-0', 'original-2', 'autoprog-2', 'original-short-2'],
  )
})

test('the control needs both runs that it is measured by', (t) => {
  t.is(missingSchemes(['original-short', 'autoprog', 'original']), undefined)
  t.is(missingSchemes(['prog']), undefined)
  t.regex(missingSchemes(['original-short']) ?? '', /add original and autoprog/)
})

test('the control gets the epochs that fit, never fewer, and its learning rate in proportion', (t) => {
  const cases: [autoprog: number, epochs: number, cooldown: number][] = [
    [500, 10, 2], // 12 of 24 epochs in all
    [501, 11, 2],
    [541, 11, 2],
    [542, 12, 2],
    [1, 1, 0],
    [1100, 22, 5],
  ]
  for (const [seconds, epochs, cooldown] of cases) {
    const short = shortenedOriginal(config, summary({ seconds: 1000 }), summary({ seconds }))
    t.is(short.config.epochs, epochs, `${seconds} s`)
    t.is(short.config.learningRate.cooldownEpochs, cooldown, `${seconds} s`)
    t.true(Math.abs(short.config.learningRate.warmupEpochs - (2 * epochs) / 20) < 1e-12)
    t.is(short.config.schedule.kind, 'original')
    t.is(short.config.schedule.lengths, null)
    t.is(short.config.seed, 3)
  }
  t.is(
    shortenedOriginal(config, summary({ seconds: 1000 }), summary({ seconds: 501 })).notice,
    "original-short, seed 3: 12.02 epochs of the original fit AutoProg's time; it gets 13 of 24",
  )
})

test('a recorded recipe is the same where nothing but auto has been settled', (t) => {
  t.true(sameConfig(config, structuredClone(config)))
  t.true(sameConfig(config, { ...config, microBatch: 64, threads: 2 }))
  t.true(!sameConfig({ ...config, microBatch: 64 }, config))
  t.true(!sameConfig(config, { ...config, epochs: 21 }))
  t.true(!sameConfig(config, { ...config, ema: { decays: [0.998, 0.9986, 0.999] } }))
  t.true(!sameConfig(config, { ...config, schedule: { ...config.schedule, lengths: null } }))
})
