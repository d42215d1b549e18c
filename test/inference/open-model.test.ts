import { copyFile, cp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import { softmax } from '../../lib/evaluation/guesses.js'
import { type OpenedModel, openModel } from '../../lib/inference/open-model.js'
import { describedModel, describedWeights, readModel, writeModel } from '../../lib/models/model-file.js'
import { writeTensors } from '../../lib/models/tensor-file.js'
import { evaluate } from '../../lib/training/evaluate.js'
import { temporaryFolder } from '../data/images.js'
import { checkError } from '../error.js'
import { assertClose } from '../golden.js'
import { test } from '../serial.js'
import { coloured, trainSmall } from './trained-run.js'

const made = await trainSmall()
const model = await openModel(made.run, { device: 'cpu' })
test.after.always(() => model.close())
const [blue, red] = ['blue', 'größer, red'].map((label) => made.pictures[label]!) as [string[], string[]]

test('the best weights of a run are a model that knows its classes and how it did', async (t) => {
  const { description } = model
  t.deepEqual(description.classes, ['blue', 'größer, red'])
  const figures = made.epochs.flatMap(({ top1, emas }) => [top1!, ...emas.map((ema) => ema.top1)])
  t.is(description.evaluated!.top1, Math.max(...figures))
  t.is(description.evaluated!.on, 'validation')
  t.deepEqual(JSON.parse(await readFile(join(made.run, 'model.json'), 'utf8')), description)
  const summary = JSON.parse(await readFile(join(made.run, 'summary.json'), 'utf8')) as { best: { top1: number } }
  t.is(summary.best.top1, description.evaluated!.top1)
  t.deepEqual(model.notices, [])
})

test('a picture is classified by its path, its bytes and its pixels alike', async (t) => {
  const path = blue[0]!
  const [first, second, ...none] = await model.classify(path)
  t.deepEqual([first!.label, first!.index, none.length], ['blue', 0, 0])
  t.true(first!.probability > 0.5)
  t.is(Math.fround(first!.probability + second!.probability), 1)
  t.is((await model.classify(path, { top: 1 })).length, 1)
  const bytes = await readFile(path)
  const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true })
  const pixels = { pixels: new Uint8Array(data), width: info.width, height: info.height, channels: 3 as const }
  const alpha = await sharp(bytes).ensureAlpha(0.3).raw().toBuffer()
  const rgba = { ...pixels, pixels: new Uint8ClampedArray(alpha), channels: 4 as const }
  const expected = await model.logits(path)
  for (const logits of await model.logits([bytes, pixels, rgba])) assertClose(t, logits, expected, 1e-6, 'logits')
})

test('grey gives a network of colours three channels alike', async (t) => {
  const grey = await sharp(blue[0]!).greyscale().raw().toBuffer({ resolveWithObject: true })
  const { width, height } = grey.info
  const [one, three] = await model.logits([
    { pixels: new Uint8Array(grey.data), width, height, channels: 1 },
    { pixels: new Uint8Array([...grey.data].flatMap((value) => [value, value, value])), width, height, channels: 3 },
  ])
  assertClose(t, one!, three!, 1e-6, 'logits')
})

test('it is as good as the evaluation of the same weights says', async (t) => {
  const copy = join(await temporaryFolder(), 'copy')
  await cp(made.data, copy, { recursive: true })
  const result = await evaluate(made.run, { data: copy })
  const paths = [...blue, ...red]
  const guesses = await model.classify(paths, { top: 1 })
  const correct = guesses.filter(([guess], index) => guess!.index === (index < blue.length ? 0 : 1)).length
  const { average, trained } = model.description
  t.is(result.images, paths.length)
  const same = average === null ? result : result.emas.find(({ decay }) => decay === average)!
  t.is(trained.epoch, 3, 'the best are those of the last checkpoint')
  t.is(correct / paths.length, same.top1)
  const { best } = result
  t.is(best.top1, Math.max(result.top1, ...result.emas.map(({ top1 }) => top1)))
  t.deepEqual(
    best.classes.map(({ name, support }) => [name, support]),
    [
      ['blue', 24],
      ['größer, red', 24],
    ],
  )

  const mirrored = await evaluate(made.run, { data: copy, tta: 'flip' })
  const both = average === null ? mirrored : mirrored.emas.find(({ decay }) => decay === average)!
  let loss = 0
  for (const [index, path] of paths.entries()) {
    const views = await model.logits([await readFile(path), await sharp(path).flop().png().toBuffer()])
    const mean = views.map((logits) => softmax(logits)[index < blue.length ? 0 : 1]!)
    loss -= Math.log((mean[0]! + mean[1]!) / 2) / paths.length
  }
  t.true(Math.abs(both.loss - loss) < 0.01 * loss, `${both.loss}, ${loss}`)
  t.not(both.loss, same.loss)
  checkError(t, await t.throwsAsync(evaluate(made.run, { tta: 'rotate' as 'flip' })), {
    code: 'CONFIG',
    message: /for tta/,
  })
})

test('a model file is evaluated by itself, on the data of its run or on others', async (t) => {
  const best = join(made.run, 'best.safetensors')
  const { average } = model.description
  const ofRun = await evaluate(made.run)
  const same = average === null ? ofRun : ofRun.emas.find(({ decay }) => decay === average)!
  const alone = await evaluate(best)
  t.deepEqual([alone.top1, alone.images, alone.emas], [same.top1, ofRun.images, []])
  const moved = join(await temporaryFolder(), 'moved.safetensors')
  await copyFile(best, moved)
  t.is((await evaluate(moved, { data: made.data })).images, 48)
  checkError(t, await t.throwsAsync(evaluate(moved)), {
    code: 'DATA',
    message: /lies outside of its run/,
    hint: /data/,
  })
})

test('many calls at once are answered each by its own, as alone', async (t) => {
  const paths = [...blue, ...red]
  const alone: Float32Array[] = []
  for (const path of paths) alone.push(await model.logits(path))
  const together = await Promise.all([...paths, ...paths].map((path) => model.logits(path)))
  for (const [index, logits] of together.entries())
    assertClose(t, logits, alone[index % paths.length]!, 1e-5, paths[index % paths.length]!)
  const features = await model.features(paths.slice(0, 5))
  t.deepEqual([...new Set(features.map(({ length }) => length))], [16])
  t.notDeepEqual(features[0], features[1])
})

test('a broken image is refused by its name, and harms no other', async (t) => {
  const folder = await temporaryFolder()
  const broken = join(folder, 'broken.png')
  await writeFile(broken, (await coloured('blue', 1)).subarray(0, 200))
  const [good, bad] = await Promise.allSettled([model.classify(red[0]!), model.classify(broken)])
  t.is(good.status, 'fulfilled')
  checkError(t, (bad as PromiseRejectedResult).reason, { code: 'IMAGE', message: /broken\.png/ })
  checkError(t, await t.throwsAsync(model.classify([blue[0]!, broken])), { code: 'IMAGE', message: /broken\.png/ })
  checkError(t, await t.throwsAsync(model.classify(join(folder, 'none.png'))), { code: 'IMAGE', message: /none\.png/ })
})

test('what is no image is refused, with what would be one', async (t) => {
  const refused = async (given: unknown, message: RegExp) =>
    checkError(t, await t.throwsAsync(model.classify(given as string)), { code: 'SHAPE', message })
  await refused(undefined, /Expected a path, the bytes/)
  await refused({ pixels: new Uint8Array(5), width: 2, height: 2, channels: 3 }, /Expected 12 bytes/)
  await refused({ pixels: new Uint8Array(4), width: 2, height: 2, channels: 2 }, /Expected a path, the bytes/)
  await refused({ pixels: new Uint8Array(0), width: 0, height: 2, channels: 3 }, /Expected a path, the bytes/)
  checkError(t, await t.throwsAsync(model.classify(blue[0]!, { top: 0 })), { code: 'CONFIG', message: /for top/ })
  t.deepEqual(await model.classify([]), [])
})

test('one file is a model, wherever it lies', async (t) => {
  const moved = join(await temporaryFolder(), 'moved.safetensors')
  await copyFile(join(made.run, 'best.safetensors'), moved)
  const alone = await openModel(moved, { device: 'cpu', batch: 1 })
  assertClose(t, await alone.logits(red[1]!), await model.logits(red[1]!), 1e-6, 'logits')
  t.is((await alone.classify(red[1]!))[0]!.label, 'größer, red')
  await alone.close()
  await alone.close()
  checkError(t, await t.throwsAsync(alone.classify(red[1]!)), { code: 'DEVICE', message: /closed/ })
})

test('weights that are no numbers are no model', async (t) => {
  const best = join(made.run, 'best.safetensors')
  const file = await readModel(best)
  const network = describedModel(best, file.description!)
  const weights = describedWeights(best, file, network)
  const spoilt = new Map([...weights, ['norm.weight', new Float32Array(16).fill(Number.NaN)]])
  const path = join(await temporaryFolder(), 'spoilt.safetensors')
  await writeModel(path, network, spoilt, file.description!)
  checkError(t, await t.throwsAsync(openModel(path)), {
    code: 'CHECKPOINT',
    message: /norm\.weight that are no numbers/,
  })
})

test('classes that the file does not name are called by their numbers, which is said', async (t) => {
  const best = join(made.run, 'best.safetensors')
  const file = await readModel(best)
  const description = { ...file.description!, classes: null }
  const unnamed = join(await temporaryFolder(), 'unnamed.safetensors')
  const network = describedModel(best, description)
  await writeModel(unnamed, network, describedWeights(best, file, network), description)
  const opened = await openModel(unnamed, { device: 'cpu' })
  t.regex(opened.notices[0]!, /does not name its classes/)
  t.is((await opened.classify(red[0]!))[0]!.label, '1')
  await opened.close()
})

test('of a run that has kept no best weights its last checkpoint is a model, and says so', async (t) => {
  const old = await trainSmall({ epochs: 2 })
  const kept: OpenedModel = await openModel(old.run, { device: 'cpu' })
  const path = old.pictures.blue![3]!
  const expected = await kept.logits(path)
  await kept.close()
  await rm(join(old.run, 'best.safetensors'))
  await rm(join(old.run, 'model.json'))
  const opened = await openModel(old.run, { device: 'cpu' })
  t.regex(opened.notices[0]!, /has kept no best weights: those of its last checkpoint are used, .*step-/)
  t.deepEqual(opened.classes, kept.classes)
  if (kept.description.trained.epoch === 2 && kept.description.average === opened.description.average)
    t.deepEqual(await opened.logits(path), expected)
  else t.is((await opened.logits(path)).length, 2)
  await opened.close()
})

test('what is no model is refused, by its name', async (t) => {
  const folder = await temporaryFolder()
  const refused = async (path: string, message: RegExp) =>
    checkError(t, await t.throwsAsync(openModel(path)), { code: 'CHECKPOINT', message })
  await refused(join(folder, 'nothing'), /There is no model and no run .*nothing/)
  await refused(folder, /holds no config\.yaml/)
  await writeFile(join(folder, 'junk.safetensors'), 'junk')
  await refused(join(folder, 'junk.safetensors'), /not a valid safetensors file/)
  await writeTensors(join(folder, 'weights.safetensors'), new Map())
  await refused(join(folder, 'weights.safetensors'), /does not say of which network/)
  checkError(t, await t.throwsAsync(openModel(made.run, { batch: 0 })), { code: 'CONFIG', message: /for batch/ })
  checkError(t, await t.throwsAsync(openModel(made.run, { device: 'tpu' })), { code: 'DEVICE' })
})
