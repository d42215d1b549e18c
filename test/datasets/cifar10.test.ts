import { rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { loadDataset } from '../../datasets/index.js'
import { noise, temporaryFolder } from '../data/images.js'
import { checkAbort, checkError } from '../error.js'
import { same } from '../same.js'
import { test } from '../serial.js'

const names = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck']
const files = ['data_batch_1', 'data_batch_2', 'data_batch_3', 'data_batch_4', 'data_batch_5', 'test_batch'].map(
  (name) => `${name}.bin`,
)
const perBatch = 4

/** The planes of a picture: red, green, blue. */
const planesOf = (batch: number, record: number) => noise(3 * 1024, 100 * batch + record)
const labelOf = (batch: number, record: number) => (3 * batch + record) % 10

async function makeFiles(): Promise<string> {
  const folder = await temporaryFolder()
  await writeFile(join(folder, 'batches.meta.txt'), `${names.join('\n')}\n\n`)
  for (const [batch, file] of files.entries()) {
    const records = Array.from({ length: perBatch }, (_, record) => [
      Uint8Array.of(labelOf(batch, record)),
      planesOf(batch, record),
    ])
    await writeFile(join(folder, file), Buffer.concat(records.flat()))
  }
  return folder
}

test('the five training files follow one another, planes become pixels', async (t) => {
  const folder = await makeFiles()
  const { classes, channels, train, test: held, notices, close } = await loadDataset(folder)
  t.deepEqual([classes, channels, notices], [names, 3, []])
  t.deepEqual([train.length, held.length, train.uniform], [20, 4, { height: 32, width: 32 }])
  for (const [split, first] of [
    [train, 0],
    [held, 5],
  ] as const) {
    for (let index = 0; index < split.length; index++) {
      const [batch, record] = [first + Math.floor(index / perBatch), index % perBatch]
      t.is(split.labels[index], labelOf(batch, record))
      const planes = planesOf(batch, record)
      const wanted = Uint8Array.from({ length: 3 * 1024 }, (_, i) => planes[(i % 3) * 1024 + Math.floor(i / 3)]!)
      same(t, split.pixels!(index).slice(), wanted)
    }
  }
  t.is(train.nameOf(9), `${join(folder, 'data_batch_3.bin')}, record 1`)
  await close()
})

test('a missing, shortened or wrong file is named', async (t) => {
  const damages: [damage: (folder: string) => Promise<void>, message: RegExp][] = [
    [(folder) => rm(join(folder, 'data_batch_1.bin')), /data_batch_1\.bin is missing$/],
    [(folder) => rm(join(folder, 'test_batch.bin')), /test_batch\.bin is missing$/],
    [(folder) => rm(join(folder, 'batches.meta.txt')), /batches\.meta\.txt is missing$/],
    [
      (folder) => truncate(join(folder, 'data_batch_2.bin'), 3 * 3073),
      /data_batch_2\.bin has 9219 bytes where 12292 are/,
    ],
    [(folder) => truncate(join(folder, 'test_batch.bin'), 0), /test_batch\.bin has 0 bytes where 12292 are due/],
    [
      async (folder) => {
        for (const file of files) await truncate(join(folder, file), 5000)
      },
      /data_batch_1\.bin has 5000 bytes, not whole records of 3073/,
    ],
    [
      (folder) => writeFile(join(folder, 'data_batch_5.bin'), Buffer.alloc(perBatch * 3073, 11)),
      /data_batch_5\.bin has the label 11 in record 0, of 10 classes/,
    ],
  ]
  for (const [damage, message] of damages) {
    const folder = await makeFiles()
    await damage(folder)
    checkError(t, await t.throwsAsync(loadDataset(folder)), { code: 'DATA', message, hint: /cifar-10-binary\.tar\.gz/ })
  }
  const signal = AbortSignal.abort()
  await checkAbort(t, loadDataset(await makeFiles(), { signal }))
})
