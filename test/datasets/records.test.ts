import { join } from 'node:path'
import { readRecords } from '../../datasets/records.js'
import { temporaryFolder, writeTree } from '../data/images.js'
import { checkAbort } from '../error.js'
import { test } from '../serial.js'

async function read(text: string, size = 3) {
  const folder = await temporaryFolder()
  await writeTree(folder, { 'x.json': text })
  return readRecords(join(folder, 'x.json'), size)
}

test('records of the right length are kept, others dropped, each with its place in the file', async (t) => {
  const { values, positions, dropped } = await read('{"data":[[0,1,255],[],[7,8],[1,2,3,4],[9,10,11]]}')
  t.deepEqual([...values], [0, 1, 255, 9, 10, 11])
  t.deepEqual(
    [positions, dropped],
    [
      [0, 4],
      [1, 2, 3],
    ],
  )
  t.deepEqual((await read('{"data":[]}')).positions, [])
})

test('it agrees with JSON.parse on many records', async (t) => {
  const data = Array.from({ length: 700 }, (_, i) => Array.from({ length: 5 }, (_, j) => (i * 37 + j * 101) % 256))
  const { values, positions } = await read(JSON.stringify({ data }), 5)
  t.deepEqual([...values], data.flat())
  t.is(positions.length, 700)
})

test('anything else is refused with the file, the record and the byte', async (t) => {
  const cases: [string, RegExp][] = [
    ['', /x\.json is not the list .*: it ends after 0 bytes, in record 0/],
    ['[[1,2,3]]', /the byte at 0 is unexpected, in record 0/],
    ['{"data":[[1,2,3],[4,5', /it ends after 21 bytes, in record 1/],
    ['{"data":[[1,2,3],[4,5,', /it ends after 22 bytes, in record 1/],
    ['{"data":[[1,2,3]', /it ends after 16 bytes, in record 1/],
    ['{"data":[[1,2,3]]', /it ends after 17 bytes/],
    ['{"data":[[1,256,3]]}', /the byte at 12 is unexpected, in record 0/],
    ['{"data":[[1,-2,3]]}', /the byte at 12 is unexpected/],
    ['{"data":[[1,2.5,3]]}', /the byte at 13 is unexpected/],
    ['{"data":[[1,,3]]}', /the byte at 12 is unexpected/],
    ['{"data":[[1,2,]]}', /the byte at 14 is unexpected/],
    ['{"data":[[1,2,3][4,5,6]]}', /the byte at 16 is unexpected, in record 1/],
    ['{"data":[[1,2,3],]}', /the byte at 17 is unexpected, in record 1/],
    ['{"data":[1,2,3]}', /the byte at 9 is unexpected/],
    ['{"data":[["a"]]}', /the byte at 10 is unexpected/],
  ]
  for (const [text, message] of cases) await t.throwsAsync(read(text), { code: 'DATA', message }, text)
  await t.throwsAsync(readRecords('/nowhere/x.json', 3), { code: 'DATA', message: /Cannot read .*ENOENT/ })
})

test('an abort is an abort', async (t) => {
  const folder = await temporaryFolder()
  await writeTree(folder, { 'x.json': '{"data":[]}' })
  await checkAbort(t, readRecords(join(folder, 'x.json'), 3, AbortSignal.abort()))
})
