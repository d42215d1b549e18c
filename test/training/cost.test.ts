/** What a run's cost counts: every forward pass of its steps and searches, with and without the cooldown. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { scheduleCost } from '../../lib/cli/flops.js'
import { fullNetworkOf, subnetworkOf } from '../../lib/growth/space.js'
import { createModel } from '../../lib/models/registry.js'
import type { ConfigInput } from '../../lib/recipe/config.js'
import { resolveConfig } from '../../lib/recipe/config.js'
import type { SearchEvent, StepEvent, Summary } from '../../lib/report/events.js'
import { train } from '../../lib/training/trainer.js'
import { makePictures } from '../pictures.js'
import { test } from '../serial.js'

const network = { kind: 'vit', imageSize: 16, patchSize: 4, embedDim: 16, depth: 4, heads: 2 } as const
const model = createModel({ ...network, classes: 3 })
const stepsPerEpoch = 6
let folder: string

test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'autoprog-cost-'))
  await makePictures(folder, { train: 16, held: 2 })
})
test.after.always(() => rm(folder, { recursive: true, force: true }))

async function runOf(input: Partial<ConfigInput>) {
  const config = resolveConfig({
    ...{ data: folder, model: network, threads: 1, epochs: 4, batch: 8, microBatch: 8 },
    search: { batches: 3, time: 'flops', epochs: 2 },
    ema: { decays: [0.9] },
    evaluation: { every: 0 },
    ...input,
    learningRate: { warmupEpochs: 1, ...input.learningRate },
  })
  const [steps, searches]: [StepEvent[], SearchEvent[]] = [[], []]
  let summary: Summary | undefined
  for await (const event of train(config)) {
    if (event.type === 'step') steps.push(event)
    if (event.type === 'search') searches.push(event)
    if (event.type === 'end') summary = event.summary
  }
  return { steps, searches, summary: summary! }
}

const costOf = ({ depth, resolution }: { depth: number; resolution: number }) =>
  model.flops({ blocks: [depth], resolution })
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)
const close = (actual: number, wanted: number) => Math.abs(actual - wanted) < 1e-9 * wanted

test('table VII: a fixed schedule costs what flops says, its cooldown apart', async (t) => {
  const subnetworks = [
    { l: 0.5, n: 0.5 },
    { l: 1, n: 1 },
  ]
  const schedule = { kind: 'fixed', subnetworks } as const
  const { steps, summary } = await runOf({ schedule, learningRate: { cooldownEpochs: 2 } })
  const planned = scheduleCost(model, subnetworks)
  t.is(steps.length, 6 * stepsPerEpoch)
  t.is(summary.withoutCooldown!.steps, 4 * stepsPerEpoch)
  t.true(close(summary.withoutCooldown!.flopsPerStep, planned.average))
  t.true(close(summary.withoutCooldown!.speedupTheoretical, planned.speedup))
  t.true(close(summary.flopsPerStep, sum(steps.map(costOf)) / steps.length))
  t.true(summary.flopsPerStep > planned.average)
})

test('without a cooldown there is one figure', async (t) => {
  const { steps, summary } = await runOf({ schedule: { kind: 'prog', stages: 2, ratio: 0.5 } })
  t.is(summary.withoutCooldown, null)
  t.true(close(summary.flopsPerStep, sum(steps.map(costOf)) / steps.length))
})

test("a search's cost holds the forward passes that its candidates were scored by", async (t) => {
  const schedule = { kind: 'autoprog', stages: 2, ratio: 0.5 } as const
  const { steps, searches, summary } = await runOf({ schedule, learningRate: { cooldownEpochs: 1 } })
  t.is(searches.length, 1)
  // Five evaluations in the search's last epoch, each on three batches a candidate.
  const scored = (5 * 3 * sum(searches[0]!.candidates.map(costOf))) / 3 // a step has a backward pass, twice as long, besides
  const cost = sum(steps.map(costOf)) + scored
  t.true(close(summary.flopsPerStep, cost / steps.length))
  const cooldown = stepsPerEpoch * model.flops()
  t.true(close(summary.withoutCooldown!.flopsPerStep, (cost - cooldown) / (4 * stepsPerEpoch)))
  t.true(close(summary.stages[0]!.flopsPerStep, (sum(steps.slice(0, 12).map(costOf)) + scored) / 12))
  const { depth, resolution } = subnetworkOf(fullNetworkOf(model), 1, 1)
  t.deepEqual([summary.stages[1]!.depth, summary.stages[1]!.resolution], [depth, resolution])
})
