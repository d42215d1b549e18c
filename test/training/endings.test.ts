/** Whatever ends a run, what it has trained is kept: it goes on from there to the same end as an undisturbed one. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { readTensors } from '../../lib/models/tensor-file.js'
import { type Config, resolveConfig } from '../../lib/recipe/config.js'
import type { TrainingEvent } from '../../lib/report/events.js'
import { readEvents } from '../../lib/report/run-folder.js'
import { type TrainOptions, train } from '../../lib/training/trainer.js'
import { picture, temporaryFolder, writeTree } from '../data/images.js'
import { checkError } from '../error.js'
import { same } from '../same.js'
import { test } from '../serial.js'

const root = await temporaryFolder()
const data = join(root, 'pictures')
for (const [half, count] of [
  ['train', 60],
  ['val', 6],
] as const)
  for (const [label, name] of ['a', 'b'].entries())
    for (let index = 0; index < count; index++) {
      const image = await picture({ height: 16 + (index % 3), width: 16, seed: 2 * index + label })
      await writeTree(data, { [`${half}/${name}/${index}.png`]: image })
    }

const recipe = (overrides: object = {}): Config =>
  resolveConfig({
    data,
    model: { kind: 'vit', imageSize: 16, patchSize: 8, embedDim: 16, depth: 2, heads: 2 },
    epochs: 3,
    batch: 8,
    microBatch: 8,
    threads: 1,
    workers: 1,
    schedule: { kind: 'original', stages: 1 },
    learningRate: { warmupEpochs: 0 },
    ema: { decays: [0.9] },
    regularization: { stochasticDepth: 0 },
    evaluation: { batch: 12 },
    ...overrides,
  })

/** Runs on, calling `meanwhile` after each event; the events, and the error that ended it. */
async function run(out: string, options: TrainOptions = {}, meanwhile: (event: TrainingEvent) => void = () => {}) {
  const events: TrainingEvent[] = []
  try {
    for await (const event of train(recipe(), { out, ...options })) {
      events.push(event)
      meanwhile(event)
    }
    return { events, error: undefined }
  } catch (error) {
    return { events, error: error as Error }
  }
}

const last = (out: string) => join(out, 'checkpoints', readdirSync(join(out, 'checkpoints')).sort().at(-1)!)
const whole = join(root, 'whole')
test.before(async () => {
  await run(whole)
})

/** The run goes on to the end that it would have had. */
async function goesOn(t: ExecutionContext, out: string) {
  const { error } = await run(out, { resume: true })
  t.is(error, undefined)
  const [ended, wanted] = [await readTensors(last(out)), await readTensors(last(whole))]
  t.is(last(out).slice(out.length), last(whole).slice(whole.length))
  for (const [name, { values }] of wanted.tensors) same(t, ended.tensors.get(name)!.values, values, name)
  const story = (folder: string) =>
    readEvents(folder).flatMap((event) => (event.type === 'epoch' ? [[event.epoch, event.trainLoss, event.top1]] : []))
  t.deepEqual(story(out), story(whole))
}

/** Takes one half of the images away until `restore` is called. */
function without(half: string) {
  const [place, aside] = [join(data, half), join(root, `${half}-aside`)]
  renameSync(place, aside)
  return () => renameSync(aside, place)
}

test('images that are gone when it comes to evaluate', async (t) => {
  const out = join(root, 'evaluation')
  let restore: (() => void) | undefined
  const { events, error } = await run(out, {}, (event) => {
    if (event.type === 'step' && event.step === 3) restore = without('val')
  })
  restore!()
  t.regex(error!.message, /of 12 images are broken/)
  t.like(events.at(-1), { type: 'checkpoint', step: 15 })
  await goesOn(t, out)
})

test('images that are gone in the middle of an epoch', async (t) => {
  const out = join(root, 'training')
  let restore: (() => void) | undefined
  const { events, error } = await run(out, {}, (event) => {
    if (event.type === 'step' && event.step === 20) restore = without('train')
  })
  restore!()
  t.regex(error!.message, /of 120 images are broken/)
  const end = events.at(-1)
  t.true(end?.type === 'checkpoint' && end.step > 20 && end.step < 30, JSON.stringify(end))
  await goesOn(t, out)
})

test('a failure in what is told of its events', async (t) => {
  const out = join(root, 'consumer')
  await t.throwsAsync(
    (async () => {
      for await (const event of train(recipe(), { out })) if (event.type === 'epoch') throw new Error('mine')
    })(),
    { message: 'mine' },
  )
  t.is(last(out), join(out, 'checkpoints', 'step-00000015.safetensors'))
  t.false(existsSync(join(out, 'run.lock')))
  await goesOn(t, out)
})

test('a run folder that is taken away', async (t) => {
  const out = join(root, 'removed')
  const { error } = await run(out, {}, (event) => {
    if (event.type === 'step' && event.step === 20) rmSync(out, { recursive: true })
  })
  checkError(t, error!, { code: 'CHECKPOINT', message: /was removed, or another process has taken it/ })
  t.false(existsSync(out))
})

test('a run folder that is taken away before the first step', async (t) => {
  const out = join(root, 'removed-at-once')
  const onListing = () => rmSync(out, { recursive: true, force: true })
  const { events, error } = await run(out, { onListing })
  checkError(t, error!, { code: 'CHECKPOINT', message: /was removed, or another process has taken it/ })
  t.deepEqual(events, [])
  t.false(existsSync(out))
})

test('a second writer is refused, and disturbs nothing', async (t) => {
  const out = join(root, 'shared')
  const others: Promise<{ error: Error | undefined }>[] = []
  const { error } = await run(out, {}, (event) => {
    if (event.type === 'step' && event.step === 2) others.push(run(out), run(out, { resume: true }))
  })
  t.is(error, undefined)
  for (const other of others)
    checkError(t, (await other).error!, { code: 'CHECKPOINT', message: /is writing to the run folder/ })
  await goesOn(t, out)
})

test('a finished run is not written over', async (t) => {
  const before = readEvents(whole)
  checkError(t, (await run(whole)).error!, { code: 'CHECKPOINT', message: /whole holds a run already/ })
  t.deepEqual(readEvents(whole), before)
})

test('a start that fails leaves nothing', async (t) => {
  const out = join(root, 'mistyped', 'run')
  const events = train(recipe({ data: join(root, 'nowhere') }), { out })
  await t.throwsAsync(events.next(), { code: 'DATA' })
  t.false(existsSync(join(root, 'mistyped')))
})

test('what a killed process has left holds nobody up, and is gone before anything is trained', async (t) => {
  const out = join(root, 'killed')
  const left = ['config.yaml.tmp', 'summary.json.tmp', join('checkpoints', 'step-00000015.safetensors.4711.tmp')]
  const leave = () => {
    mkdirSync(join(out, 'checkpoints'), { recursive: true })
    for (const file of left) writeFileSync(join(out, file), 'half')
  }
  const found: boolean[] = []
  const look = ({ type }: TrainingEvent) => {
    if (type === 'start') found.push(...left.map((file) => existsSync(join(out, file))))
  }
  leave()
  writeFileSync(join(out, 'config.yaml'), 'epochs: 3\n')
  const controller = new AbortController()
  await run(out, { signal: controller.signal }, (event) => {
    look(event)
    if (event.type === 'step' && event.step === 20) controller.abort()
  })
  leave()
  t.is((await run(out, { resume: true }, look)).error, undefined)
  t.deepEqual(found, [false, false, false, false, false, false])
  await goesOn(t, out)
})
