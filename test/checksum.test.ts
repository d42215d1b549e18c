import { crc32, tableCrc32 } from '../lib/checksum.js'
import { noise } from './data/images.js'
import { test } from './serial.js'

test('the checksum is the CRC-32 of zlib and PNG', (t) => {
  for (const sum of [crc32, tableCrc32]) {
    t.is(sum(Buffer.from('123456789')), 0xcbf43926) // the check value of its definition
    t.is(sum(new Uint8Array(0)), 0)
  }
  const bytes = noise(10_001)
  for (const sum of [crc32, tableCrc32]) t.is(sum(bytes.subarray(4_000), sum(bytes.subarray(0, 4_000))), crc32(bytes))
  t.is(crc32(bytes), tableCrc32(bytes))
})
