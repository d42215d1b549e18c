import { listImageFolder } from '../../../datasets/image-folder.js'
import { checkDataset } from '../../../lib/data/source/check.js'
import { test } from '../../serial.js'
import { classPictures, temporaryFolder, writeTree } from '../images.js'

test('images kept for choosing are looked at too', async (t) => {
  const root = await temporaryFolder()
  await writeTree(root, {
    ...(await classPictures('train/', ['a', 'b'], 4)),
    ...(await classPictures('val/', ['a', 'b'], 3)),
    ...(await classPictures('test/', ['a', 'b'], 2)),
    'val/b/01.png': 'rubbish',
    'val/b/02.png': 'rubbish',
  })
  const dataset = await listImageFolder(root, { validation: 0.1 })
  const done: number[] = []
  const { images, broken, classes, refused } = await checkDataset(dataset, {
    onProgress: (count, total) => void done.push(count / total),
  })
  t.deepEqual(
    broken.map(({ name }) => name),
    ['01', '02'].map((name) => `${root}/val/b/${name}.png`),
  )
  t.deepEqual([images, done.length, done.at(-1), refused], [18, 18, 1, true])
  t.deepEqual(classes, [
    { name: 'a', train: 4, test: 2, broken: 0 },
    { name: 'b', train: 4, test: 2, broken: 2 },
  ])
})
