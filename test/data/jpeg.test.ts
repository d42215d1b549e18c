import assert from 'node:assert/strict'
import { test } from 'node:test'
import sharp from 'sharp'
import { correctScanHeaders } from '../../lib/data/jpeg.js'
import { noise, picture } from './images.js'

const scan = (jpeg: Uint8Array) => Buffer.from(jpeg).indexOf(Buffer.from([0xff, 0xda]))

test('only a scan header that no decoder reads so is corrected', async () => {
  const jpeg = await picture({ format: 'jpeg', height: 32, width: 32 })
  assert.equal(correctScanHeaders(jpeg), undefined)
  const odd = Buffer.from(jpeg)
  odd.fill(0, scan(jpeg) + 11, scan(jpeg) + 14)
  const corrected = correctScanHeaders(odd)!
  assert.deepEqual(Buffer.from(corrected), jpeg)
  assert.equal(odd[scan(jpeg) + 12], 0, 'what was given stays as it is')
  assert.equal(correctScanHeaders(corrected), undefined)
})

test('progressive JPEGs, other formats and rubbish are left alone', async () => {
  const raw = sharp(noise(32 * 32 * 3), { raw: { height: 32, width: 32, channels: 3 } })
  assert.equal(correctScanHeaders(await raw.jpeg({ progressive: true }).toBuffer()), undefined)
  assert.equal(correctScanHeaders(await picture()), undefined)
  const jpeg = await picture({ format: 'jpeg', height: 32, width: 32 })
  for (let length = 0; length < jpeg.length; length++) {
    assert.equal(correctScanHeaders(jpeg.subarray(0, length)), undefined)
  }
  for (let seed = 0; seed < 50; seed++) {
    const rubbish = Uint8Array.from([0xff, 0xd8, ...noise(500, seed).map((value) => (value > 200 ? 255 : value))])
    const corrected = correctScanHeaders(rubbish)
    if (corrected !== undefined) assert.equal(correctScanHeaders(corrected), undefined)
  }
})
