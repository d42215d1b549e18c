import {
  baselineOf,
  changesOf,
  type FinishedRun,
  missingSchemes,
  planRuns,
  recipeLabels,
  shortenedOriginal,
} from '../../lib/cli/compare-plan.js'
import { resolveConfig, withScheme } from '../../lib/recipe/config.js'
import type { Summary } from '../../lib/report/events.js'
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
    [1000, 20, 4],
    [1100, 20, 4], // a noisy machine: never more than the original
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
  t.is(
    shortenedOriginal(config, summary({ seconds: 1000 }), summary({ seconds: 1100 })).notice,
    "original-short, seed 3: 26.40 epochs of the original fit AutoProg's time; AutoProg took longer than the original, so it gets all 24",
  )
})

test('a recorded recipe is the same where nothing but auto has been settled', (t) => {
  t.deepEqual(changesOf(config, structuredClone(config)), [])
  t.deepEqual(changesOf(config, { ...config, microBatch: 64, threads: 2 }), [])
  t.deepEqual(changesOf({ ...config, microBatch: 64 }, config), ['microBatch: 64 and "auto"'])
  t.deepEqual(changesOf(config, { ...config, epochs: 21 }), ['epochs: 20 and 21'])
  t.deepEqual(changesOf(config, { ...config, schedule: { ...config.schedule, lengths: null } }), [
    'schedule.lengths: [1,1,1,2] and null',
  ])
})

test('what a scheme does not read makes no other run of it', (t) => {
  const original = withScheme(config, 'original')
  const subnetworks = [{ l: 1, n: 0.5 }]
  const other = resolveConfig({ ...config, schedule: { ...config.schedule, ratio: 0.7, subnetworks } })
  t.deepEqual(changesOf(withScheme(other, 'original'), original), [])
  t.deepEqual(changesOf(other, config), ['schedule.ratio: 0.7 and 0.4'])
  // An operator of auto is named, not settled by a machine.
  const stacking = resolveConfig({ ...config, schedule: { ...config.schedule, operator: 'stacking' } })
  t.is(changesOf(config, stacking)[0], 'schedule.operator: "mogrow" and "stacking"')
})

test('a run is measured against the ordinary training of its recipe, or of its network, data and seed', (t) => {
  const run = (folder: string, group: string, of: Partial<Summary>): FinishedRun => ({
    ...{ scheme: folder, seed: of.seed ?? 0, group, folder },
    summary: summary(of),
  })
  const runs = [
    run('b-original-short', 'b', { scheme: 'original', epochs: 9 }),
    run('a-original', 'a', { scheme: 'original' }),
    run('b-original', 'b', { scheme: 'original' }),
    run('c-original', 'c', { scheme: 'original', model: 'resnet50' }),
    run('a-original-1', 'a', { scheme: 'original', seed: 1 }),
  ]
  const against = (group: string, of: Partial<Summary> = {}) => baselineOf(run('x', group, of), runs)?.folder
  t.is(against('a'), 'a-original')
  t.is(against('b'), 'b-original')
  t.is(against('b', { seed: 1 }), 'a-original-1')
  t.is(against('', { model: 'resnet50' }), 'c-original')
  t.falsy(against('a', { data: 'cifar10' }))
})

test('recipes are called by their names, and by their paths where names meet', (t) => {
  t.deepEqual(recipeLabels(['mnist', 'mine/own.yaml']), ['mnist', 'own'])
  t.deepEqual(recipeLabels(['a/x.yaml', 'b/x.yml', 'c/y.yaml']), ['a/x', 'b/x', 'y'])
})
