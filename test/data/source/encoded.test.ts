import assert from 'node:assert/strict'
import { test } from 'node:test'
import { substitutes } from '../../../lib/data/source/broken.js'
import { decodeAhead, type EncodedImages, encodedSplit } from '../../../lib/data/source/encoded.js'
import { AutoprogError } from '../../../lib/errors.js'
import { noise, picture } from '../images.js'

/** The images decoded as a dataset's half would be. */
const decode = (images: EncodedImages, options?: Parameters<typeof decodeAhead>[1]) =>
  decodeAhead(encodedSplit(images), options)

async function images(count: number, options: { broken?: number[]; odd?: number; classes?: number } = {}) {
  const { broken = [], odd, classes = 2 } = options
  const files = await Promise.all(
    Array.from({ length: count }, (_, seed) => picture({ seed, width: seed === odd ? 9 : 8 })),
  )
  for (const index of broken) files[index] = Buffer.from('rubbish')
  const encoded: EncodedImages = {
    labels: Int32Array.from(files, (_, index) => Math.floor((index * classes) / count)),
    channels: 3,
    nameOf: (index) => `${index}.png`,
    read: async (index) => files[index]!,
  }
  return encoded
}

test('images that are all alike are decoded once and held in memory', async () => {
  const progress: [number, number][] = []
  const encoded = await images(12)
  let reads = 0
  const read = (index: number) => {
    reads += 1
    return encoded.read(index)
  }
  const counted = { ...encoded, read }
  const { split, notices } = await decode(counted, { onProgress: (...each) => progress.push(each) })
  assert.deepEqual(split.uniform, { height: 8, width: 8 })
  for (let index = 0; index < 12; index++) {
    assert.deepEqual(new Uint8Array(split.pixels!(index)), noise(8 * 8 * 3, index))
    assert.deepEqual((await split.load(index)).pixels, split.pixels!(index))
  }
  assert.equal(reads, 12)
  assert.deepEqual(progress, [[12, 12]])
  assert.deepEqual([notices, split.length, split.nameOf(4)], [[], 12, '4.png'])
})

test('images of different sizes are decoded on demand', async () => {
  for (const odd of [0, 5, 11]) {
    const { split } = await decode(await images(12, { odd }))
    assert.equal(split.uniform, undefined)
    assert.equal(split.pixels, undefined)
    assert.deepEqual(new Uint8Array((await split.load(2)).pixels), noise(8 * 8 * 3, 2))
    const image = await split.load(odd)
    assert.deepEqual([image.height, image.width], [8, 9])
    for (const index of [-1, 12, 0.5])
      await assert.rejects(split.load(index), { code: 'DATA', message: /from 0 to 11/ })
  }
})

test('a broken image gives way to the next good one of its class, under that one’s name and label', async () => {
  const { split, notices } = await decode(await images(12, { broken: [2, 3, 5] }), { maxBroken: 0.25 })
  const same = (index: number, source: number) => {
    assert.deepEqual(new Uint8Array(split.pixels!(index)), noise(8 * 8 * 3, source))
    assert.equal(split.nameOf(index), `${source}.png`)
    assert.equal(split.labels[index], split.labels[source])
  }
  same(2, 4)
  same(3, 4)
  same(5, 0) // the last of its class: the search goes round
  same(1, 1)
  assert.equal(notices.length, 1)
  assert.match(notices[0]!, /^3 of 12 images are broken, others stand in: 2\.png: .*; 3\.png: .*; 5\.png: /)
})

test('where a class has nothing good left, label and image come from the next good one', async () => {
  const { split } = await decode(await images(6, { broken: [0, 1, 2] }), { maxBroken: 0.5 })
  assert.deepEqual([...split.labels], [1, 1, 1, 1, 1, 1])
  assert.deepEqual(new Uint8Array(split.pixels!(1)), noise(8 * 8 * 3, 3))
})

test('above the share the run fails and all names are listed', async () => {
  const encoded = await images(50, { broken: [7, 11] })
  await assert.rejects(decode(encoded), (error: AutoprogError) => {
    assert.equal(error.code, 'DATA')
    assert.match(error.message, /^2 of 50 images are broken: 7\.png: .*; 11\.png: /)
    assert.match(error.hint!, /at most 1%/)
    return true
  })
  const all = await images(30, { broken: [...Array(30).keys()] })
  await assert.rejects(decode(all), { code: 'DATA', message: /30 of 30 .*; and 10 more$/ })
  await assert.rejects(decode(encoded, { maxBroken: 2 }), { code: 'CONFIG', message: /maxBroken/ })
})

test('an error that is not about one image ends it all, and so does an abort', async () => {
  const encoded = await images(12)
  const failing = { ...encoded, read: () => Promise.reject(new AutoprogError('DATA', 'x.tar is closed')) }
  await assert.rejects(decode(failing), { message: 'x.tar is closed' })
  const controller = new AbortController()
  const read = (index: number) => {
    controller.abort()
    return encoded.read(index)
  }
  const reading = decode({ ...encoded, read }, controller)
  await assert.rejects(reading, { name: 'AbortError' })
})

test('stand-ins come from the same class first, in cyclic order, and then from the others', () => {
  assert.deepEqual([...substitutes(3, Int32Array.of(0, 1, 0, 1, 0, 1))], [5, 1, 4, 0, 2])
  assert.deepEqual([...substitutes(0, Int32Array.of(7))], [])
})
