/** What chooses, and what is left for what was chosen; and that nothing depends on a clock where that is asked for. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { loadDataset } from '../../datasets/index.js'
import { resolveConfig } from '../../lib/recipe/config.js'
import type { EpochEvent, StepEvent, Summary, TestEvent, TrainingEvent } from '../../lib/report/events.js'
import { summaryText } from '../../lib/report/text.js'
import { evaluate } from '../../lib/training/evaluate.js'
import { train } from '../../lib/training/trainer.js'
import { picture, temporaryFolder, writeTree } from '../data/images.js'
import { checkError } from '../error.js'
import { test } from '../serial.js'

const root = await temporaryFolder()
const data = join(root, 'pictures')
for (const [label, name] of ['a', 'b'].entries())
  for (let index = 0; index < 60; index++) {
    const image = await picture({ height: 16, width: 16, seed: 2 * index + label })
    await writeTree(data, { [`${name}/${index}.png`]: image })
  }

const recipe = (overrides: object = {}) =>
  resolveConfig({
    data,
    model: { kind: 'vit', imageSize: 32, patchSize: 8, embedDim: 16, depth: 4, heads: 2 },
    epochs: 4,
    batch: 24,
    workers: 1,
    schedule: { kind: 'original', stages: 1 },
    learningRate: { warmupEpochs: 0 },
    ema: { decays: [0.5, 0.9] },
    regularization: { stochasticDepth: 0 },
    ...overrides,
  })

async function run(overrides: object, out: string) {
  const events: TrainingEvent[] = []
  for await (const event of train(recipe(overrides), { out: join(root, out) })) events.push(event)
  const of = <T extends TrainingEvent>(type: T['type']) => events.filter((event) => event.type === type) as T[]
  return { of, summary: readSummary(out), folder: join(root, out) }
}
const readSummary = (out: string) => JSON.parse(readFileSync(join(root, out, 'summary.json'), 'utf8')) as Summary

test('with a validation part the epochs are evaluated on it, and the test images once, at the end', async (t) => {
  const { of, summary, folder } = await run({ validation: 0.2 }, 'validated')
  const dataset = await loadDataset(data, { validation: 0.2 })
  const [tested, ...more] = of<TestEvent>('test')
  t.deepEqual(more, [])
  t.is(tested!.images, dataset.test.length)
  // The figures are shares of the images that they were counted on.
  const whole = (share: number, of: number) => Math.abs(share * of - Math.round(share * of)) < 1e-9
  const epochs = of<EpochEvent>('epoch')
  t.is(epochs.length, 4)
  t.true(epochs.every(({ evaluatedOn }) => evaluatedOn === 'validation'))
  for (const { top1, emas } of epochs)
    for (const share of [top1!, ...emas.map((each) => each.top1)]) t.true(whole(share, dataset.validation!.length))
  const last = epochs.at(-1)!
  const best = last.emas.reduce((a, b) => (b.top1 > a.top1 ? b : a))
  t.is(summary.bestEmaDecay, best.decay, 'the validation images choose')
  t.is(summary.chosenBy, 'validation')
  t.is(summary.top1, tested!.top1)
  t.is(summary.top1Ema, tested!.emas.find(({ decay }) => decay === best.decay)!.top1, 'the test images tell')
  t.regex(summaryText(summary), /chosen by the validation images/)

  const again = await evaluate(folder)
  t.is(again.images, dataset.test.length)
  t.deepEqual(
    [again.loss, ...again.emas.map(({ loss }) => loss)],
    [tested!.loss, ...tested!.emas.map(({ loss }) => loss)],
  )
})

test('without one the test images choose, which is said', async (t) => {
  const { of, summary } = await run({}, 'unvalidated')
  t.deepEqual(of('test'), [])
  t.is(summary.chosenBy, 'test')
  t.is(summary.top1, of<EpochEvent>('epoch').at(-1)!.top1)
  t.regex(summaryText(summary), /chosen by the held-out images/)
})

test('a run is resumed with the validation part that it began with', async (t) => {
  const config = recipe({ validation: 0.2 })
  const out = join(root, 'resumed')
  for await (const event of train(config, { out })) if (event.type === 'epoch' && event.epoch === 2) break
  const other = train({ ...config, validation: 0.3 }, { out, resume: true }).next()
  checkError(t, await t.throwsAsync(other), { code: 'CHECKPOINT', message: /validation: 0.2 and 0.3/ })
  for await (const _ of train(config, { out, resume: true }));
  const [a, b] = ['resumed', 'validated'].map(readSummary)
  t.deepEqual([a!.top1, a!.top1Ema, a!.bestEmaDecay], [b!.top1, b!.top1Ema, b!.bestEmaDecay])
})

test('a deterministic run depends on no clock: no micro-batch is tried, and a search compares multiply-adds', async (t) => {
  const overrides = {
    deterministic: true,
    schedule: { kind: 'autoprog', stages: 2 },
    search: { epochs: 1, batches: 1 },
    model: { kind: 'vit', imageSize: 48, patchSize: 8, embedDim: 16, depth: 4, heads: 2 },
  }
  const runs = [await run({ ...overrides, threads: 1 }, 'once'), await run({ ...overrides, threads: 2 }, 'twice')]
  const [losses, again] = runs.map(({ of }) => of<StepEvent>('step').map(({ loss }) => loss))
  t.deepEqual(again, losses)
  for (const { folder } of runs) {
    const kept = parse(readFileSync(join(folder, 'config.yaml'), 'utf8'))
    t.is(kept.microBatch, 12, 'the largest even divisor of 24 up to 16')
    t.is(kept.search.time, 'flops')
  }
})
