import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  describedModel,
  describedWeights,
  readModel,
  type TrainedModel,
  writeModel,
} from '../../lib/models/model-file.js'
import { initialValues } from '../../lib/models/parameters.js'
import { createModel } from '../../lib/models/registry.js'
import { writeTensors } from '../../lib/models/tensor-file.js'
import { temporaryFolder } from '../data/images.js'
import { checkError } from '../error.js'
import { test } from '../serial.js'

const network = { kind: 'vit' as const, imageSize: 16, patchSize: 8, embedDim: 8, depth: 4, heads: 2 }
const described = (changes: Partial<Record<keyof TrainedModel, unknown>> = {}): TrainedModel =>
  ({
    ...{ version: 1, name: 'vit', network, blocks: [3], classes: ['cat', 'dog', 'größer'], classCount: 3, channels: 3 },
    ...{ mean: [0.5, 0.4, 0.3], deviation: [0.2, 0.2, 0.2], resolution: 16, crop: 0.875, interpolation: 'bicubic' },
    ...{ precision: 'fp32', average: 0.99 },
    evaluated: { on: 'validation', images: 10, top1: 0.9, top5: 1, loss: 0.3 },
    trained: { version: '0.1.0', date: '2026-01-01T00:00:00.000Z', data: 'pets', seed: 0, step: 10, epoch: 2 },
    ...changes,
  }) as TrainedModel
const model = describedModel('x', described())
const weights = new Map(model.parameters.map((each) => [each.name, initialValues(each, 1)]))

test('a model file says what it is, and is read back as it was', async (t) => {
  const path = join(await temporaryFolder(), 'model.safetensors')
  await writeModel(path, model, weights, described())
  const read = await readModel(path)
  t.deepEqual(read.description, described())
  const again = describedModel(path, read.description!)
  t.is(again.depth, 3)
  t.is(again.classes, 3)
  t.deepEqual(describedWeights(path, read, again), weights)
})

test('classes that nobody knows are null, and weights alone say nothing', async (t) => {
  const folder = await temporaryFolder()
  await writeModel(join(folder, 'a.safetensors'), model, weights, described({ classes: null }))
  t.is((await readModel(join(folder, 'a.safetensors'))).description!.classes, null)
  await writeTensors(join(folder, 'b.safetensors'), new Map())
  t.is((await readModel(join(folder, 'b.safetensors'))).description, undefined)
})

test('what makes no sense is a CHECKPOINT error that names it', async (t) => {
  const path = join(await temporaryFolder(), 'model.safetensors')
  const failing = async (changes: Parameters<typeof described>[0], message: RegExp) => {
    await writeModel(path, model, weights, described(changes))
    checkError(t, await t.throwsAsync(readModel(path)), { code: 'CHECKPOINT', message })
  }
  await failing({ version: 2 }, /version 2, and this version reads 1/)
  await failing({ classes: ['cat'] }, /names 1 classes of 3/)
  await failing({ crop: 2 }, /makes no sense: crop/)
  await failing({ mean: [1, 2] }, /makes no sense: mean/)
  await failing({ trained: {} }, /makes no sense: trained\.version/)
  await failing({ network: 7 }, /makes no sense: network/)
  t.throws(() => describedModel(path, described({ network: 'resnet19' })), {
    message: /cannot be made: There is no model/,
  })
  t.throws(() => describedModel(path, described({ blocks: [99999999] })), { message: /CHECKPOINT|cannot be made/ })
})

test('weights of another network do not fit, and a damaged file is damaged', async (t) => {
  const path = join(await temporaryFolder(), 'model.safetensors')
  await writeModel(path, model, weights, described({ blocks: [4] }))
  const read = await readModel(path)
  t.throws(() => describedWeights(path, read, describedModel(path, read.description!)), {
    message: /blocks\.3.* is missing/,
  })
  const bytes = await readFile(path)
  bytes[bytes.length - 5]! ^= 1
  await writeFile(path, bytes)
  checkError(t, await t.throwsAsync(readModel(path)), { code: 'CHECKPOINT', message: /checksum/ })
  t.is(createModel(network, { classes: 3 }).depth, 4)
})
