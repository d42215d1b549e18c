/** Token labelling end to end: maps made by a small transformer, and a VOLO trained on them. */

import { join } from 'node:path'
import { loadDataset } from '../../datasets/index.js'
import { openLabelMaps } from '../../lib/data/labels/token-labels.js'
import type { ConfigInput } from '../../lib/recipe/config.js'
import { resolveConfig } from '../../lib/recipe/config.js'
import type { TrainingEvent } from '../../lib/report/events.js'
import { annotate } from '../../lib/training/annotate.js'
import { train } from '../../lib/training/trainer.js'
import { classPictures, temporaryFolder, writeTree } from '../data/images.js'
import { checkAbort } from '../error.js'
import { test } from '../serial.js'

const folder = await temporaryFolder()
const data = join(folder, 'pictures')
const maps = join(folder, 'labels.safetensors')
const volo: ConfigInput['model'] = {
  ...{ kind: 'volo', imageSize: 32, patchSize: 4, stemDim: 8 },
  ...{ layers: [2, 2], embedDims: [12, 24], heads: [2, 2] },
}

const recipe = (overrides: Partial<ConfigInput> = {}) =>
  resolveConfig({
    ...{ data, model: volo, epochs: 2, batch: 8, microBatch: 8, threads: 1 },
    schedule: { kind: 'original' },
    search: { batches: 1, time: 'flops', epochs: 0.5 },
    augmentation: { crop: 'resized', scale: [0.3, 1] },
    optimizer: { learningRate: 2e-3 },
    learningRate: { warmupEpochs: 0 },
    ema: { decays: [0.9] },
    evaluation: { batch: 8 },
    ...overrides,
  } satisfies ConfigInput)

async function collect(events: AsyncIterable<TrainingEvent>): Promise<TrainingEvent[]> {
  const list: TrainingEvent[] = []
  for await (const event of events) list.push(event)
  return list
}
const lossesOf = (events: readonly TrainingEvent[]) =>
  events.flatMap((event) => (event.type === 'step' ? [event.loss] : []))
const noticesOf = (events: readonly TrainingEvent[]) =>
  events.flatMap((event) => (event.type === 'notice' ? [event.message] : []))

test.before(async () => {
  const size = () => ({ width: 40, height: 36 })
  await writeTree(data, {
    ...(await classPictures('train/', ['cat', 'dog', 'owl'], 8, size)),
    ...(await classPictures('val/', ['cat', 'dog', 'owl'], 2, size)),
  })
  const vit: ConfigInput['model'] = { kind: 'vit', imageSize: 32, patchSize: 8, embedDim: 12, depth: 1, heads: 2 }
  await collect(train(recipe({ model: vit, epochs: 1 }), { out: join(folder, 'teacher') }))
  await annotate(join(folder, 'teacher'), data, maps)
})

test('token labelling: trains on maps, on class labels where there are none, and says so', async (t) => {
  const plain = await collect(train(recipe()))
  const labelled = await collect(train(recipe({ tokenLabels: { maps } })))
  const classes = await collect(train(recipe({ tokenLabels: {} })))
  const unmixed = await collect(train(recipe({ tokenLabels: { maps, mixToken: false } })))
  const note = "no label maps: tokens are labelled by their image's class"
  t.deepEqual(
    [plain, labelled, classes].map((events) => noticesOf(events).includes(note)),
    [false, false, true],
  )
  const all = [plain, labelled, classes, unmixed].map(lossesOf)
  for (const losses of all) t.true(losses.length === 6 && losses.every(Number.isFinite))
  t.is(new Set(all.map(([first]) => first)).size, 4, 'each has a loss of its own')
  // ln 3 once, and half of it for the tokens.
  t.true(all[0]![0]! < 1.4 && all[1]![0]! > 1.4, `${all[0]![0]} ${all[1]![0]}`)
  t.deepEqual(lossesOf(await collect(train(recipe({ tokenLabels: { maps } })))), all[1], 'the same again')
})

test('token labelling: scores the candidates of a search with them, and goes on after a resume as if nothing had been', async (t) => {
  const config = recipe({
    schedule: { kind: 'autoprog', stages: 2, ratio: 0.5, operator: 'interpolation' },
    tokenLabels: { maps },
    epochs: 4,
  })
  const whole = await collect(train(config))
  t.true(whole.some(({ type }) => type === 'search'))
  const out = join(folder, 'resumed')
  const controller = new AbortController()
  const begun = async () => {
    for await (const event of train(config, { out, signal: controller.signal }))
      if (event.type === 'step' && event.step === 7) controller.abort()
  }
  await checkAbort(t, begun())
  const rest = await collect(train(config, { out, resume: true }))
  t.deepEqual(lossesOf(rest), lossesOf(whole).slice(-lossesOf(rest).length))
})

test('token labelling: a VOLO annotates too', async (t) => {
  const out = join(folder, 'student')
  await collect(train(recipe({ tokenLabels: { maps }, epochs: 1 }), { out }))
  const file = join(folder, 'again.safetensors')
  const { grid, images } = await annotate(out, data, file, { resolution: 64, weights: 'ema0', top: 2 })
  t.deepEqual([grid, images], [8, 24])
  const dataset = await loadDataset(data)
  const again = await openLabelMaps(file, { split: dataset.train, classes: dataset.classes })
  t.deepEqual([again.shape, again.found], [[2, 8, 8], 24])
  await again.close()
  await dataset.close()
})

test('token labelling: maps that do not fit end the run before its first step', async (t) => {
  await t.throwsAsync(collect(train(recipe({ tokenLabels: { maps: join(folder, 'nowhere') } }))), {
    ...{ code: 'DATA', message: /There are no label maps at/ },
  })
  await t.throwsAsync(collect(train(recipe({ data: 'mnist', tokenLabels: { maps } }))), {
    ...{ code: 'DATA', message: /label maps .* of 3 classes, and the dataset has 10/ },
  })
})
