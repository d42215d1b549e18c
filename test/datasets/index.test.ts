import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { datasetNames, loadDataset } from '../../datasets/index.js'
import { classPictures, picture, temporaryFolder, writeTree } from '../data/images.js'
import { checkAbort, checkError } from '../error.js'
import { test } from '../serial.js'
import { type Members, writeTar } from './archives.js'

test('names and paths lead to their datasets', async (t) => {
  t.deepEqual(datasetNames, ['fashion-mnist', 'mnist'])
  t.is((await loadDataset('mnist')).name, 'mnist')
  const root = await temporaryFolder()
  await writeTree(join(root, 'pets'), await classPictures('', ['a', 'b'], 3))
  const dataset = await loadDataset(`${join(root, 'pets')}/`)
  t.deepEqual([dataset.name, dataset.classes], ['pets', ['a', 'b']])
})

test('what does not exist is an error that suggests the nearest name', async (t) => {
  checkError(t, await t.throwsAsync(loadDataset('fashon-mnist')), {
    code: 'DATA',
    message: /fashon-mnist/,
    hint: 'did you mean fashion-mnist?',
  })
  checkError(t, await t.throwsAsync(loadDataset('/no/such/folder')), {
    code: 'DATA',
    hint: /^give fashion-mnist, mnist, or the path/,
  })
  const file = join(await temporaryFolder(), 'notes.txt')
  await writeFile(file, 'notes')
  await t.throwsAsync(loadDataset(file), { code: 'DATA', message: /notes\.txt as a tar archive/ })
  await t.throwsAsync(loadDataset(join(file, 'inside')), { code: 'DATA', message: /ENOTDIR/ })
})

test('all images of data without a test half are for testing where that is asked for', async (t) => {
  const root = await temporaryFolder()
  const [photos, one] = [join(root, 'photos'), join(root, 'one')]
  await writeTree(photos, await classPictures('', ['a', 'b'], 3))
  await writeTree(one, await classPictures('', ['a'], 1))
  const pairs: Members = {}
  for (const key of [1, 2, 3]) {
    pairs[`${key}.png`] = await picture({ seed: key })
    pairs[`${key}.cls`] = '0'
  }
  await writeTar(join(root, 'pairs.tar'), pairs)
  for (const [path, images] of [
    [photos, 6],
    [one, 1],
    [join(root, 'pairs.tar'), 3],
  ] as const) {
    const { train, test: held, notices, close } = await loadDataset(path, { halves: 'all' })
    t.deepEqual([train.length, train.labels.length, held.length], [0, 0, images], path)
    t.deepEqual(held.uniform, { height: 8, width: 8 })
    t.true(notices.includes(`no test half was found: all ${images} images are for testing`))
    await close()
  }
  for (const path of [one, join(root, 'pairs.tar')]) {
    await t.throwsAsync(loadDataset(path), { code: 'DATA', message: /only/ }, 'a single class cannot be trained on')
  }
  const halves = join(root, 'halves')
  await writeTree(halves, {
    ...(await classPictures('train/', ['a', 'b'], 3)),
    ...(await classPictures('val/', ['a'], 2)),
  })
  const { train, test: held } = await loadDataset(halves, { halves: 'all' })
  t.deepEqual([train.length, held.length], [6, 2], 'halves stay what they are')
  const wrong = { halves: 'both' as 'all' }
  await t.throwsAsync(loadDataset(halves, wrong), { code: 'CONFIG', message: /'held-out' or 'all' for halves/ })
})

test('wrong options are refused', async (t) => {
  for (const name of ['', undefined, 7]) {
    await t.throwsAsync(loadDataset(name as string), { code: 'CONFIG', message: /name of a dataset/ })
  }
  await t.throwsAsync(loadDataset('mnist', { seed: 1.5 }), { code: 'CONFIG', message: /seed/ })
  await checkAbort(t, loadDataset('mnist', { signal: AbortSignal.abort() }))
})
