import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { datasetNames, loadDataset } from '../../datasets/index.js'
import { classPictures, temporaryFolder, writeTree } from '../data/images.js'

test('names and paths lead to their datasets', async () => {
  assert.deepEqual(datasetNames, ['fashion-mnist', 'mnist'])
  assert.equal((await loadDataset('mnist')).name, 'mnist')
  const root = await temporaryFolder()
  await writeTree(join(root, 'pets'), await classPictures('', ['a', 'b'], 3))
  const dataset = await loadDataset(`${join(root, 'pets')}/`)
  assert.deepEqual([dataset.name, dataset.classes], ['pets', ['a', 'b']])
})

test('what does not exist is an error that suggests the nearest name', async () => {
  await assert.rejects(loadDataset('fashon-mnist'), {
    code: 'DATA',
    message: /fashon-mnist/,
    hint: 'did you mean fashion-mnist?',
  })
  await assert.rejects(loadDataset('/no/such/folder'), {
    code: 'DATA',
    hint: /^give fashion-mnist, mnist, or the path/,
  })
  const file = join(await temporaryFolder(), 'notes.txt')
  await writeFile(file, 'notes')
  await assert.rejects(loadDataset(file), { code: 'DATA', message: /notes\.txt as a tar archive/ })
  await assert.rejects(loadDataset(join(file, 'inside')), { code: 'DATA', message: /ENOTDIR/ })
})

test('wrong options are refused', async () => {
  for (const name of ['', undefined, 7]) {
    await assert.rejects(loadDataset(name as string), { code: 'CONFIG', message: /name of a dataset/ })
  }
  await assert.rejects(loadDataset('mnist', { seed: 1.5 }), { code: 'CONFIG', message: /seed/ })
  await assert.rejects(loadDataset('mnist', { signal: AbortSignal.abort() }), { name: 'AbortError' })
})
