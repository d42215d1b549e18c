import { join } from 'node:path'
import { loadDataset } from '../../../datasets/index.js'
import type { Split } from '../../../lib/data/source/dataset.js'
import { checkError } from '../../error.js'
import { test } from '../../serial.js'
import { picture, temporaryFolder, writeTree } from '../images.js'

const root = await temporaryFolder()
const photos = join(root, 'photos')
const namesOf = (split: Split) => Array.from({ length: split.length }, (_, index) => split.nameOf(index))
const files = (folder: string, count: number, size = (_index: number) => 8) =>
  Promise.all(
    ['a', 'b'].flatMap((name, label) =>
      Array.from({ length: count }, async (_, index) => ({
        [`${folder}/${name}/${index}.png`]: await picture({ height: size(index), width: 8, seed: 2 * index + label }),
      })),
    ),
  ).then((each) => Object.assign({}, ...each))

test('training images that are kept for choosing neither train nor test, and the test images stay the same', async (t) => {
  await writeTree(root, await files('photos', 40))
  const without = await loadDataset(photos)
  t.is(without.validation, undefined)
  const dataset = await loadDataset(photos, { validation: 0.2 })
  const [train, validation, held] = [dataset.train, dataset.validation!, dataset.test].map(namesOf)
  t.deepEqual(held, namesOf(without.test))
  t.deepEqual([...train!, ...validation!].sort(), namesOf(without.train).sort())
  t.true(
    validation!.length >= 8 && validation!.length <= 24,
    `${validation!.length} of ${namesOf(without.train).length}`,
  )
  t.true(
    dataset.notices.some((text) => text.includes(`${validation!.length} of ${without.train.length} training images`)),
  )
  const whole = new Map(namesOf(without.train).map((name, index) => [name, index]))
  for (const split of [dataset.train, dataset.validation!])
    for (const [index, name] of namesOf(split).entries()) {
      const image = await split.load(index)
      t.deepEqual(image.pixels, (await without.train.load(whole.get(name)!)).pixels)
      t.is(split.labels[index], without.train.labels[whole.get(name)!])
    }
})

test('they are chosen by their names below the dataset and the seed: elsewhere, or with more beside them, they are the same', async (t) => {
  const size = (index: number) => 8 + (index % 2) // not alike: read one by one
  await writeTree(root, await files('here', 40, size))
  await writeTree(root, await files('there/photos', 60, size))
  const keptOf = async (folder: string, seed = 0) => {
    const { validation } = await loadDataset(join(root, folder), { validation: 0.2, seed })
    return namesOf(validation!).map((name) => name.split('/').slice(-2).join('/'))
  }
  const kept = await keptOf('here')
  const grown = await keptOf('there/photos')
  t.deepEqual(
    grown.filter((name) => Number.parseInt(name.slice(2), 10) < 40),
    kept,
  )
  t.notDeepEqual(await keptOf('here', 1), kept)
})

test('a part that the data has is taken whole, and a split of two images a class still has one to train on', async (t) => {
  await writeTree(root, {
    ...(await files('three/train', 5)),
    ...(await files('three/val', 2)),
    ...(await files('three/test', 3)),
  })
  const three = await loadDataset(join(root, 'three'), { validation: 0.5 })
  t.deepEqual([three.train.length, three.validation!.length, three.test.length], [10, 4, 6])
  await writeTree(root, { ...(await files('few/train', 2)), ...(await files('few/test', 1)) })
  const few = await loadDataset(join(root, 'few'), { validation: 0.9 })
  t.deepEqual([few.train.length, few.validation!.length], [2, 2])
  await writeTree(root, { ...(await files('one/train', 1)), ...(await files('one/test', 1)) })
  const one = await loadDataset(join(root, 'one'), { validation: 0.5 })
  t.is(one.validation, undefined)
  t.true(one.notices.some((text) => text.startsWith('there are too few images to keep some for choosing')))
})

test('a share that is none is a CONFIG error', async (t) => {
  for (const validation of [-0.1, 1, Number.NaN]) {
    const error = await t.throwsAsync(loadDataset(photos, { validation }))
    checkError(t, error, { code: 'CONFIG', message: /at least 0 and below 1 for validation/ })
  }
})
