/** Which operator a run grows by, and that it says so. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ConfigInput } from '../../lib/recipe/config.js'
import { resolveConfig, withScheme } from '../../lib/recipe/config.js'
import { operatorOf } from '../../lib/recipe/values.js'
import type { StageEvent, StartEvent, TrainingEvent } from '../../lib/report/events.js'
import { train } from '../../lib/training/trainer.js'
import { makePictures } from '../pictures.js'
import { test } from '../serial.js'

let folder: string

test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'autoprog-operator-'))
  await makePictures(folder, { train: 16, held: 2 })
})
test.after.always(() => rm(folder, { recursive: true, force: true }))

type Schedule = NonNullable<ConfigInput['schedule']>

const recipe = (schedule: Schedule) =>
  resolveConfig({
    data: folder,
    model: { kind: 'vit', imageSize: 16, patchSize: 4, embedDim: 16, depth: 4, heads: 2 },
    ...{ threads: 1, epochs: 8, batch: 8, microBatch: 8, schedule },
    search: { batches: 1, time: 'flops', epochs: 1 },
    optimizer: { learningRate: 4e-3 },
    learningRate: { warmupEpochs: 1 },
    ema: { decays: [0.9] },
    evaluation: { every: 0 },
  })

async function runOf(schedule: Schedule): Promise<{ start: StartEvent; stages: StageEvent[]; losses: number[] }> {
  const events: TrainingEvent[] = []
  for await (const event of train(recipe(schedule))) events.push(event)
  return {
    start: events.find((event) => event.type === 'start')!,
    stages: events.filter((event) => event.type === 'stage'),
    losses: events.flatMap((event) => (event.type === 'step' ? event.loss : [])),
  }
}

test('table III: ProgStack stacks, MoGrow takes its place where it is asked for, and both say so', async (t) => {
  const plain = await runOf({ kind: 'progstack' })
  const mogrow = await runOf({ kind: 'progstack', operator: 'mogrow' })
  const grown = plain.stages[1]!.step
  t.true(grown > 0 && plain.losses.length === 48)
  t.deepEqual(plain.losses.slice(0, grown), mogrow.losses.slice(0, grown))
  t.true(plain.losses.slice(grown).every((loss, step) => loss !== mogrow.losses[grown + step]))
  t.deepEqual([plain.start.operator, mogrow.start.operator], ['stacking', 'mogrow'])
  t.deepEqual(
    plain.stages.map(({ operator }) => operator),
    [null, 'stacking', 'stacking'],
  )
  t.deepEqual(
    mogrow.stages.map(({ operator }) => operator),
    [null, 'mogrow', 'mogrow'],
  )
})

test('only a stage that grows the network names an operator, and only a schedule that grows', async (t) => {
  const { start, stages } = await runOf({ kind: 'prog', stages: 4, ratio: 0.5, operator: 'interpolation' })
  t.is(start.operator, 'interpolation')
  const depths = stages.map(({ subnetwork }) => subnetwork.depth)
  t.deepEqual(depths, [2, 3, 3, 4])
  t.deepEqual(
    stages.map(({ operator }) => operator),
    [null, 'interpolation', null, 'interpolation'],
  )
  t.is((await runOf({ kind: 'original' })).start.operator, null)
})

test('a search names the operator where it begins, not where its winner trains on', async (t) => {
  const { stages } = await runOf({ kind: 'autoprog', stages: 3, ratio: 0.25 })
  t.is(stages[0]!.phase, 'search')
  for (const [index, { stage, operator, subnetwork }] of stages.entries()) {
    const before = stages[index - 1]
    const grows = before !== undefined && before.stage < stage && subnetwork.depth > before.subnetwork.depth
    t.is(operator, grows ? 'mogrow' : null, `${stage}`)
  }
})

test("a recipe that names no operator has its scheme's own, whichever scheme it is turned to", (t) => {
  const config = recipe({ kind: 'autoprog' })
  t.is(operatorOf(config), 'mogrow')
  t.is(operatorOf(withScheme(config, 'prog')), 'mogrow')
  t.is(operatorOf(withScheme(config, 'progstack')), 'stacking')
  t.is(operatorOf(withScheme(recipe({ operator: 'mogrow' }), 'progstack')), 'mogrow')
  t.is(operatorOf(withScheme(recipe({ operator: 'interpolation' }), 'progstack')), 'stacking')
  t.is(operatorOf(recipe({ operator: 'rand-init' })), 'rand-init')
})
