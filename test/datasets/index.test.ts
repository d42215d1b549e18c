import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { datasetNames, loadDataset } from '../../datasets/index.js'
import { classPictures, temporaryFolder, writeTree } from '../data/images.js'
import { checkAbort, checkError } from '../error.js'
import { test } from '../serial.js'

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

test('wrong options are refused', async (t) => {
  for (const name of ['', undefined, 7]) {
    await t.throwsAsync(loadDataset(name as string), { code: 'CONFIG', message: /name of a dataset/ })
  }
  await t.throwsAsync(loadDataset('mnist', { seed: 1.5 }), { code: 'CONFIG', message: /seed/ })
  await checkAbort(t, loadDataset('mnist', { signal: AbortSignal.abort() }))
})
