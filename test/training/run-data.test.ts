import { cpSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readTensors, writeTensors } from '../../lib/models/tensor-file.js'
import { type Config, configToYaml, loadConfig, resolveConfig } from '../../lib/recipe/config.js'
import type { TrainingEvent } from '../../lib/report/events.js'
import { annotate } from '../../lib/training/annotate.js'
import { evaluate } from '../../lib/training/evaluate.js'
import { type TrainOptions, train } from '../../lib/training/trainer.js'
import { picture, temporaryFolder, writeTree } from '../data/images.js'
import { checkError } from '../error.js'
import { test } from '../serial.js'

const root = await temporaryFolder()
const data = join(root, 'pictures')
const names = ['ant', 'bee', 'cat']

/** Flat pictures, a shade a class: a network tells them apart at once. */
async function shades(place: string, classes: readonly string[], shadeOf = (name: string) => names.indexOf(name)) {
  for (const name of classes)
    for (let index = 0; index < 20; index++) {
      const image = await picture({ height: 16 + (index % 2), width: 16, seed: index, level: 20 + 100 * shadeOf(name) })
      await writeTree(place, { [`${index < 16 ? 'train' : 'val'}/${name}/${index}.png`]: image })
    }
}
await shades(data, names)

const recipe = (overrides: object = {}): Config =>
  resolveConfig({
    data,
    model: { kind: 'vit', imageSize: 16, patchSize: 8, embedDim: 16, depth: 2, heads: 2 },
    epochs: 15,
    batch: 8,
    microBatch: 8,
    threads: 1,
    schedule: { kind: 'original', stages: 1 },
    optimizer: { learningRate: 4e-3 },
    learningRate: { warmupEpochs: 0 },
    ema: { decays: [0.9] },
    augmentation: { scale: [0.9, 1], aspect: [1, 1] },
    regularization: { stochasticDepth: 0, mixup: 0, cutmix: 0, erasing: 0 },
    ...overrides,
  })

async function run(config: Config, options: TrainOptions): Promise<TrainingEvent[]> {
  const events: TrainingEvent[] = []
  for await (const event of train(config, options)) events.push(event)
  return events
}

/** A run that was stopped after its first epoch. */
async function stopped(out: string, overrides: object): Promise<void> {
  const controller = new AbortController()
  const events = train(recipe(overrides), { out, signal: controller.signal })
  try {
    for await (const event of events) if (event.type === 'epoch') controller.abort()
  } catch (error) {
    if (!controller.signal.aborted) throw error
  }
}

const whole = join(root, 'whole')
const copy = (name: string) => {
  const place = join(root, name)
  cpSync(data, place, { recursive: true })
  return place
}
const resumed = (out: string, overrides: object = {}) =>
  run(resolveConfig({ ...loadConfig({ file: join(out, 'config.yaml') }), ...overrides }), { out, resume: true })

test.before(async () => {
  await run(recipe(), { out: whole })
})

test('evaluation finds classes by their names, whatever others there are', async (t) => {
  const own = await evaluate(whole)
  t.true(own.top1 > 0.9, `${own.top1}`)
  const part = join(root, 'part')
  await shades(part, ['cat', 'bee'])
  const result = await evaluate(whole, { data: part })
  t.true(result.top1 > 0.9, `of two classes: ${result.top1}`)
  t.deepEqual(
    result.notices.filter((notice) => notice.includes('class')),
    ['part has no images of 1 class of the run: ant'],
  )
})

test('all of a folder without halves is tested, and of the data of the run what was held out', async (t) => {
  const flat = join(root, 'flat')
  for (const name of names) cpSync(join(data, 'train', name), join(flat, name), { recursive: true })
  t.is((await evaluate(whole, { data: flat })).images, 48)
  t.is((await evaluate(whole, { data })).images, 12)
  const out = join(root, 'of-flat')
  await run(recipe({ data: flat, epochs: 1 }), { out })
  const own = await evaluate(out)
  t.true(own.images < 20)
  t.deepEqual(await evaluate(out, { data: join(flat, '..', 'flat') }), own)
})

test('evaluation says where the images held out are no longer those of the run', async (t) => {
  const [out, place] = [join(root, 'run-other'), copy('data-other')]
  await run(recipe({ data: place, epochs: 1 }), { out })
  const said = async (options = {}) =>
    (await evaluate(out, options)).notices.filter((notice) => /of the run/.test(notice))
  t.deepEqual(await said(), [])
  const [more, other] = [join(place, 'val', 'ant', 'more.png'), join(place, 'val', 'ant', '17.png')]
  writeFileSync(more, await picture({ height: 16, width: 16 }))
  t.deepEqual(await said(), ['the held-out images of data-other are no longer those of the run, which were 12: 13 now'])
  renameSync(more, other)
  t.deepEqual(await said(), ['the held-out images of data-other are no longer those of the run: other names or sizes'])
  // Of other data nothing can have been held out.
  t.deepEqual(await said({ data }), [])
})

test('classes that a run does not know are named', async (t) => {
  const renamed = copy('renamed')
  for (const half of ['train', 'val']) renameSync(join(renamed, half, 'cat'), join(renamed, half, 'puma'))
  const error = await t.throwsAsync(evaluate(whole, { data: renamed }))
  checkError(t, error!, {
    code: 'DATA',
    message: /renamed has 1 class that the run does not know: puma/,
    hint: /trained on ant, bee, cat\. Rename the folders alike \(cat is missing\)/,
  })
  await t.throwsAsync(annotate(whole, renamed, join(root, 'maps.safetensors')), { message: /does not know: puma/ })
})

test('the data of a moved folder resume, and the run is found from there', async (t) => {
  const [out, place] = [join(root, 'moved'), copy('here')]
  await stopped(out, { data: place })
  renameSync(place, join(root, 'there'))
  checkError(t, (await t.throwsAsync(resumed(out)))!, {
    code: 'DATA',
    message: /no dataset and no file named .*here/,
    hint: /^if the data of the run were moved, name their place with --data$/,
  })
  const events = await resumed(out, { data: join(root, 'there') })
  t.is(events.at(-1)?.type, 'end')
})

test('a recipe that leaves its stages to the scheme resumes by what was kept of it', async (t) => {
  const out = join(root, 'run-default')
  await stopped(out, { schedule: { kind: 'prog' } })
  const events = await resumed(out)
  t.like(events[0], { type: 'start', resumedFrom: 6 })
  t.is(events.at(-1)?.type, 'end')
})

test('a class that was renamed meanwhile stops a resume', async (t) => {
  const [out, place] = [join(root, 'run-renamed'), copy('data-renamed')]
  await stopped(out, { data: place })
  for (const half of ['train', 'val']) renameSync(join(place, half, 'cat'), join(place, half, 'puma'))
  checkError(t, (await t.throwsAsync(resumed(out)))!, {
    code: 'DATA',
    message: /data-renamed has changed since the run began: the class cat is missing and puma is new \(renamed\?\)/,
    hint: /--data/,
  })
})

test('so does a class more, or an image more, or another image', async (t) => {
  const [out, place] = [join(root, 'run-grown'), copy('data-grown')]
  await stopped(out, { data: place })
  await shades(place, ['dog'], () => 1)
  await t.throwsAsync(resumed(out), {
    message: /: 1 class new \(dog\); 64 training images, 16 more than then; 16 held-/,
  })
  for (const half of ['train', 'val']) rmSync(join(place, half, 'dog'), { recursive: true })
  writeFileSync(join(place, 'train', 'ant', 'more.png'), await picture({ height: 16, width: 16 }))
  await t.throwsAsync(resumed(out), { message: /began: 49 training images, 1 more than then$/ })
  renameSync(join(place, 'train', 'ant', 'more.png'), join(place, 'train', 'ant', '3.png'))
  await t.throwsAsync(resumed(out), { message: /as many training images as then, but with other names or sizes/ })
  cpSync(join(data, 'train', 'ant', '3.png'), join(place, 'train', 'ant', '3.png'))
  t.is((await resumed(out)).at(-1)?.type, 'end')
})

test('a run of an early version, which kept no names, takes them from its data', async (t) => {
  const early = join(root, 'early')
  cpSync(whole, early, { recursive: true })
  const file = join(early, 'checkpoints', 'step-00000090.safetensors')
  const { tensors, metadata } = await readTensors(file)
  const { data: _data, ...rest } = metadata
  await writeTensors(file, tensors, rest)
  const part = join(root, 'part')
  t.is((await evaluate(early, { data: part })).top1, (await evaluate(whole, { data: part })).top1)
  const config = join(early, 'config.yaml')
  writeFileSync(config, configToYaml(recipe({ data: join(root, 'gone') })))
  await t.throwsAsync(evaluate(early, { data: part }), { message: /Expected 3 classes, as .*early was trained for/ })
  const { notices } = await evaluate(early, { data })
  t.true(
    notices.some((notice) => notice.includes('has not kept the names of its classes')),
    notices.join(),
  )
  writeFileSync(config, configToYaml(recipe()))
  t.regex(
    (await evaluate(early)).notices.join(),
    /early has not kept what it held out: it may have been trained on some/,
  )
})

test('a checkpoint without a classifier is refused', async (t) => {
  const out = join(root, 'headless')
  cpSync(whole, out, { recursive: true })
  const file = join(out, 'checkpoints', 'step-00000090.safetensors')
  const { tensors, metadata } = await readTensors(file)
  tensors.delete('weights/head.bias')
  await writeTensors(file, tensors, metadata)
  checkError(t, (await t.throwsAsync(evaluate(out)))!, { code: 'CHECKPOINT', message: /00000090.*holds no classifier/ })
})
