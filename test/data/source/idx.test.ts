import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { readIdx } from '../../../lib/data/source/idx.js'
import { test } from '../../serial.js'
import { temporaryFolder, writeTree } from '../images.js'

const header = (...words: number[]) => {
  const bytes = Buffer.alloc(4 * words.length)
  words.forEach((word, i) => void bytes.writeUInt32BE(word, 4 * i))
  return bytes
}
const good = Buffer.concat([header(0x803, 2, 3, 4), Buffer.from([...Array(24).keys()])])

test('plain and gzipped files give the same array', async (t) => {
  const folder = await temporaryFolder()
  await writeTree(folder, { plain: good, 'packed.gz': gzipSync(good) })
  for (const name of ['plain', 'packed']) {
    const { shape, data } = await readIdx(join(folder, name), 3)
    t.deepEqual(shape, [2, 3, 4])
    t.deepEqual([...data], [...Array(24).keys()])
  }
})

test('a corrupt file is named, with what is wrong', async (t) => {
  const folder = await temporaryFolder()
  const cases: [string, Buffer, RegExp][] = [
    ['empty', Buffer.alloc(0), /empty is not a valid IDX file: 0 bytes are too short/],
    ['magic', Buffer.concat([header(0x801, 2, 3, 4), good.subarray(16)]), /magic number 2049 where 2051/],
    ['short', good.subarray(0, -1), /23 values where its shape 2 x 3 x 4 needs 24/],
    ['long', Buffer.concat([good, good]), /needs 24/],
    ['huge', header(0x803, 0xffffffff, 0xffffffff, 0xffffffff), /0 values where/],
    ['cut.gz', gzipSync(good).subarray(0, -9), /Cannot read .*cut\.gz/],
    ['plain.gz', good, /Cannot read .*plain\.gz: incorrect header check/],
  ]
  await writeTree(folder, Object.fromEntries(cases.map(([name, bytes]) => [name, bytes])))
  for (const [name, , message] of cases) {
    await t.throwsAsync(readIdx(join(folder, name.replace(/\.gz$/, '')), 3), { code: 'DATA', message })
  }
  await t.throwsAsync(readIdx(join(folder, 'absent'), 3), { code: 'DATA', message: /absent is missing/ })
  await t.throwsAsync(readIdx(folder, 3), { code: 'DATA', message: /Cannot read .*: it is a folder/ })
})
