import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { writeTensors } from '../../lib/models/tensor-file.js'
import { resolveConfig } from '../../lib/recipe/config.js'
import { clearLeftovers, loadCheckpoint, saveCheckpoint } from '../../lib/training/checkpoint.js'
import type { TrainerState } from '../../lib/training/trainer-state.js'
import { temporaryFolder, writeTree } from '../data/images.js'
import { checkError } from '../error.js'
import { test } from '../serial.js'

const recipe = resolveConfig({ data: 'mnist', model: 'vit_micro' })
const subnetwork = { blocks: [2], depth: 2, resolution: 32, l: 1, n: 1 }
const work = { seconds: 0.5, images: 16, waited: 0, decodeSeconds: 0, transformSeconds: 0 }
const accuracy = { top1: 0.5, top5: 1, loss: 1 }
const trainer = (step: number): TrainerState => ({
  ...{ step, stage: 1, searching: true, subnetwork, previous: subnetwork, blocks: [2], grownAt: 3, epochDue: false },
  search: { times: [[0.1], []], losses: [[1, 2]] },
  tuner: { '2@32': { trials: [[0.1], []] } },
  tally: {
    stages: [{ stage: 1, steps: 2, searchSteps: 1, seconds: 1, searchSeconds: 0.5, flops: 1e6, subnetwork }],
    ...{ totalSeconds: 2, skippedSteps: null, cooldown: { steps: 1, flops: 1e6 }, work },
    epoch: { ...work, loss: 3, steps: 2 },
  },
  lastEpoch: {
    ...{ type: 'epoch', epoch: 1, step: 2, stage: 1, depth: 2, resolution: 32, trainLoss: 1, learningRate: 0.1 },
    ...{ top1: 0.5, top5: 1, testLoss: null, emas: [{ decay: 0.9, ...accuracy }], trainSeconds: 1, evaluateSeconds: 1 },
    ...{ imagesPerSecond: 16, waitShare: 0, decodedPerSecond: null, transformedPerSecond: null },
  },
})
const split = { images: 8, fingerprint: 'ab' }
const data = { classes: ['a', 'b'], train: split, validation: split, test: split }
const tensors = new Map([['weights/x', { shape: [1], values: Float32Array.of(1) }]])
const about = { recipe, data, keep: 2 }

test('a checkpoint says again what it was told', async (t) => {
  const run = await temporaryFolder()
  for (const step of [1, 2, 3]) await saveCheckpoint(run, step, tensors, trainer(step), about)
  const read = await loadCheckpoint(run, recipe)
  t.deepEqual([read.trainer, read.data, read.notices], [trainer(3), data, []])
  t.deepEqual(read.tensors, tensors)
  t.is((await loadCheckpoint(run, undefined, 'step-00000002.safetensors')).trainer.step, 2)
  await t.throwsAsync(loadCheckpoint(run, undefined, 'step-00000001.safetensors'), { code: 'CHECKPOINT' })
})

test('a checkpoint from before the work of the loader was counted is read, as if there had been none', async (t) => {
  const run = await temporaryFolder()
  const { tally, ...rest } = trainer(1)
  const { work: _, epoch, ...sums } = tally
  const early = { ...rest, tally: { ...sums, waited: 1, epoch: { loss: 3, steps: 2, seconds: 0.5, images: 16 } } }
  await saveCheckpoint(run, 1, tensors, early as unknown as TrainerState, about)
  const read = await loadCheckpoint(run, recipe)
  const none = { seconds: 0, images: 0, waited: 0, decodeSeconds: 0, transformSeconds: 0 }
  t.deepEqual(read.trainer.tally.work, none)
  t.deepEqual(read.trainer.tally.epoch, { ...none, loss: 3, steps: 2, seconds: 0.5, images: 16 })
})

/** Every value that is junk in one place, named by it. */
function* spoilt(value: unknown, path: string[] = []): Generator<[place: string, value: unknown]> {
  const place = path.join('.')
  for (const junk of [null, 'x', { x: 1 }, [[[1]]], -7, 0.5])
    if (typeof junk !== typeof value || junk === null) yield [place, junk]
  if (typeof value !== 'object' || value === null) return
  for (const [key, inner] of Object.entries(value))
    for (const [where, other] of spoilt(inner, [...path, key]))
      yield [where, Array.isArray(value) ? Object.assign([...value], { [key]: other }) : { ...value, [key]: other }]
}

test('what makes no sense beside the tensors is damage: it is named, and an older checkpoint is taken', async (t) => {
  const run = await temporaryFolder()
  const newest = join(run, 'checkpoints', 'step-00000002.safetensors')
  await saveCheckpoint(run, 1, tensors, trainer(1), about)
  const metadata = { recipe: JSON.stringify(recipe), trainer: JSON.stringify(trainer(2)), data: JSON.stringify(data) }
  const accepted: string[] = []
  const refuses = async (place: string, changed: Record<string, string>) => {
    await writeTensors(newest, tensors, { version: '2', ...metadata, ...changed })
    const { trainer: state, notices } = await loadCheckpoint(run, recipe)
    if (state.step === 2) return void accepted.push(place)
    t.is(state.step, 1)
    const [key] = Object.keys(changed)
    t.regex(notices.join(), new RegExp(`00000002\\.safetensors says nothing sensible of its ${key}; an older`))
  }
  await refuses('nothing', {})
  for (const key of ['trainer', 'data', 'recipe'] as const)
    for (const text of ['', '{', 'null', '3', metadata[key].slice(0, -1), `${metadata[key]}}`])
      await refuses(text, { [key]: text })
  for (const [place, value] of spoilt(trainer(2))) await refuses(`trainer ${place}`, { trainer: JSON.stringify(value) })
  for (const [place, value] of spoilt(data)) await refuses(`data ${place}`, { data: JSON.stringify(value) })
  // Nothing is computed of what the last epoch said of its steps; a figure may be unknown.
  const told = accepted.filter((place) => !place.startsWith('trainer lastEpoch.'))
  t.deepEqual([...new Set(told)], ['nothing', 'trainer tally.skippedSteps'])
  await saveCheckpoint(run, 1, tensors, trainer(1), { ...about, keep: 1 })
  checkError(t, await t.throwsAsync(loadCheckpoint(run, recipe)), {
    code: 'CHECKPOINT',
    message: /says nothing sensible of its data/,
    hint: /copy it anew, or resume from an older one/,
  })
})

test('what a killed writer has left is taken away, and nothing else', async (t) => {
  const run = await temporaryFolder()
  const own = ['checkpoints/step-00000002.safetensors.17.tmp', 'config.yaml.tmp', 'data.json.tmp', 'summary.json.tmp']
  const others = [
    'checkpoints/mine.tmp',
    'checkpoints/step-00000002.safetensors',
    'config.yaml',
    'notes.tmp',
    'run.lock.17.tmp',
  ]
  await writeTree(run, Object.fromEntries([...own, ...others].map((path) => [path, 'x'])))
  await clearLeftovers(run)
  t.deepEqual((await filesIn(run)).sort(), others)
  await clearLeftovers(join(run, 'nowhere'))
})

async function filesIn(folder: string): Promise<string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true })
  return found.filter((each) => each.isFile()).map((each) => join(each.parentPath, each.name).slice(folder.length + 1))
}
