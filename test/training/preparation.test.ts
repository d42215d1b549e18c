import type { Dataset, Split } from '../../lib/data/source/dataset.js'
import { createModel } from '../../lib/models/registry.js'
import type { Device } from '../../lib/native.js'
import { resolveConfig } from '../../lib/recipe/config.js'
import { augmentationOf, bottleneck, enlargementOf, evaluationOf, settle } from '../../lib/training/preparation.js'
import { test } from '../serial.js'

const config = (given: object = {}) => resolveConfig({ data: 'x', model: 'deit_tiny_patch16_224', ...given })
const split = (uniform: { width: number; height: number } | undefined): Split => ({
  ...{ length: 1, labels: Int32Array.of(0), uniform, nameOf: String, fingerprint: async () => '' },
  load: () => Promise.reject(new Error('not asked for')),
})
const photos = split(undefined)

test('photos are cut and small squares shifted, unless the recipe says otherwise', (t) => {
  const model = createModel('deit_tiny_patch16_224')
  const cropOf = (images: Split, given = {}) => augmentationOf(config(given), images, model).crop
  t.is(cropOf(photos), 'resized')
  t.is(cropOf(split({ width: 500, height: 375 })), 'resized')
  t.is(cropOf(split({ width: 32, height: 24 })), 'resized')
  t.is(cropOf(split({ width: 64, height: 64 })), 'pad')
  t.is(cropOf(photos, { augmentation: { crop: 'pad' } }), 'pad')
  t.is(evaluationOf(config(), photos).fraction, 0.875)
  t.is(evaluationOf(config(), split({ width: 28, height: 28 })).fraction, 1)
  t.is(evaluationOf(config({ evaluation: { crop: 0.96 } }), photos).fraction, 0.96)
})

test('small images that a network enlarges much are told, with the price', (t) => {
  const of = (side: number) => enlargementOf({ train: split({ width: side, height: side }) }, createModel('resnet18'))
  t.regex(of(32)[0]!, /^images of 32 x 32 are enlarged to the 224 px of resnet18, 49 times as many pixels/)
  t.deepEqual([of(96), enlargementOf({ train: photos }, createModel('resnet18'))], [[], []])
})

test('what moves out of an image leaves the mean of the data', (t) => {
  t.deepEqual(augmentationOf(config(), photos, createModel('deit_tiny_patch16_224')).fill, [124, 116, 104])
  t.deepEqual(augmentationOf(config(), photos, createModel('vit_fashion')).fill, [73, 73, 73])
})

test('a loader that holds up training is told, with what would help', (t) => {
  const photosOnDisk = { trainSeconds: 60, waitShare: 0.3, decodedPerSecond: 210, transformedPerSecond: 900 }
  t.is(bottleneck({ ...photosOnDisk, waitShare: 0.04 }, 4, 16), undefined)
  t.is(bottleneck({ ...photosOnDisk, trainSeconds: 3 }, 4, 16), undefined, 'less than a second of waiting')
  const hint = bottleneck(photosOnDisk, 4, 16)!
  t.regex(hint, /^30\.00 % .*one of 4 workers decodes 210 images a second and augments 900/)
  t.regex(hint, /raise workers from 4 towards the 16 cores, or pack the data once \(autoprog pack\)/)
  t.notRegex(hint, /augment less/)
  const inMemory = { trainSeconds: 60, waitShare: 0.1, decodedPerSecond: null, transformedPerSecond: 500 }
  t.regex(bottleneck(inMemory, 4, 2)!, /To go faster: augment less \(augmentation\.randAugment\)$/)
})

test('a model is chosen by the images and the device, and a batch that few images fill', (t) => {
  const dataset = (uniform: { width: number; height: number } | undefined, length: number): Dataset => {
    const half = { ...split(uniform), length }
    return {
      ...{ name: 'x', classes: ['a', 'b'], channels: 3, notices: [] },
      train: half,
      test: half,
      close: async () => {},
    }
  }
  const on = (kind: 'cpu' | 'cuda') => ({ kind }) as Device
  const auto = config({ model: 'auto', batch: 'auto' })
  t.deepEqual(settle(config(), dataset(undefined, 128), on('cpu')), { config: config(), notices: [] })
  t.deepEqual(settle(config(), dataset(undefined, 127), on('cpu')), {
    config: config({ batch: 14 }),
    notices: ['chose a batch of 14 for 127 images'],
  })
  const small = settle(auto, dataset({ width: 28, height: 28 }, 5000), on('cpu'))
  t.deepEqual(small.notices, ['chose a vision transformer of 6 layers, 56 px for images of 28 x 28'])
  t.is(small.config.batch, 64)
  const photosOnCpu = settle(auto, dataset(undefined, 100), on('cpu'))
  t.deepEqual(photosOnCpu.notices, [
    'chose a vision transformer of 8 layers, 96 px for photos on a processor, and a batch of 12 for 100 images',
  ])
  t.is(photosOnCpu.config.batch, 12)
  t.deepEqual(settle(config({ batch: 'auto' }), dataset(undefined, 100), on('cpu')), {
    config: config({ batch: 12 }),
    notices: ['chose a batch of 12 for 100 images'],
  })
  t.is(settle(config({ model: 'auto', batch: 64 }), dataset(undefined, 100), on('cpu')).config.batch, 64)
  t.throws(() => settle(config({ batch: 'auto', microBatch: 10 }), dataset(undefined, 100), on('cpu')), {
    message: /even divisor of the batch, 12/,
  })
  t.is(settle(auto, dataset(undefined, 1e6), on('cuda')).config.model, 'deit_small_patch16_224')
  for (const side of [4, 12, 20, 28, 32, 48, 64]) {
    const { model } = settle(auto, dataset({ width: side, height: side }, 100), on('cpu')).config
    t.notThrows(() => createModel(model, { classes: 2, channels: 3 }), `${side}`)
  }
})
