import { substitutes } from '../../../lib/data/source/broken.js'
import { decodeAhead, type EncodedImages, encodedSplit } from '../../../lib/data/source/encoded.js'
import { AutoprogError } from '../../../lib/errors.js'
import { checkAbort, checkError } from '../../error.js'
import { same } from '../../same.js'
import { test } from '../../serial.js'
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
    fingerprint: async () => '',
    read: async (index) => files[index]!,
  }
  return encoded
}

test('images that are all alike are decoded once and held in memory', async (t) => {
  const progress: [number, number][] = []
  const encoded = await images(12)
  let reads = 0
  const read = (index: number) => {
    reads += 1
    return encoded.read(index)
  }
  const counted = { ...encoded, read }
  const { split, notices } = await decode(counted, { onProgress: (...each) => progress.push(each) })
  t.deepEqual(split.uniform, { height: 8, width: 8 })
  for (let index = 0; index < 12; index++) {
    same(t, new Uint8Array(split.pixels!(index)), noise(8 * 8 * 3, index))
    same(t, (await split.load(index)).pixels, split.pixels!(index))
  }
  t.is(reads, 12)
  t.deepEqual(progress, [[12, 12]])
  t.deepEqual([notices, split.length, split.nameOf(4)], [[], 12, '4.png'])
})

test('images of different sizes are decoded on demand', async (t) => {
  for (const odd of [0, 5, 11]) {
    const { split } = await decode(await images(12, { odd }))
    t.is(split.uniform, undefined)
    t.is(split.pixels, undefined)
    same(t, new Uint8Array((await split.load(2)).pixels), noise(8 * 8 * 3, 2))
    const image = await split.load(odd)
    t.deepEqual([image.height, image.width], [8, 9])
    for (const index of [-1, 12, 0.5]) await t.throwsAsync(split.load(index), { code: 'DATA', message: /from 0 to 11/ })
  }
})

test('a broken image gives way to the next good one of its class, under that one’s name and label', async (t) => {
  const { split, notices } = await decode(await images(12, { broken: [2, 3, 5] }), { maxBroken: 0.25 })
  const standsIn = (index: number, source: number) => {
    same(t, new Uint8Array(split.pixels!(index)), noise(8 * 8 * 3, source))
    t.is(split.nameOf(index), `${source}.png`)
    t.is(split.labels[index], split.labels[source])
  }
  standsIn(2, 4)
  standsIn(3, 4)
  standsIn(5, 0) // the last of its class: the search goes round
  standsIn(1, 1)
  t.is(notices.length, 1)
  t.regex(notices[0]!, /^3 of 12 images are broken, others stand in: 2\.png: .*; 3\.png: .*; 5\.png: /)
})

test('where a class has nothing good left, label and image come from the next good one', async (t) => {
  const { split } = await decode(await images(6, { broken: [0, 1, 2] }), { maxBroken: 0.5 })
  t.deepEqual([...split.labels], [1, 1, 1, 1, 1, 1])
  same(t, new Uint8Array(split.pixels!(1)), noise(8 * 8 * 3, 3))
})

test('above the share the run fails and all names are listed', async (t) => {
  const encoded = await images(25, { broken: [7, 11, 12] })
  checkError(t, await t.throwsAsync(decode(encoded)), {
    code: 'DATA',
    message: /^3 of 25 images are broken: 7\.png: .*; 11\.png: .*; 12\.png: /,
    hint: /at most 2 of them/,
  })
  const all = await images(30, { broken: [...Array(30).keys()] })
  await t.throwsAsync(decode(all), { code: 'DATA', message: /30 of 30 .*; and 10 more$/ })
  await t.throwsAsync(decode(encoded, { maxBroken: 2 }), { code: 'CONFIG', message: /maxBroken/ })
})

test('an error that is not about one image ends it all, and so does an abort', async (t) => {
  const encoded = await images(12)
  const failing = { ...encoded, read: () => Promise.reject(new AutoprogError('DATA', 'x.tar is closed')) }
  await t.throwsAsync(decode(failing), { message: 'x.tar is closed' })
  const controller = new AbortController()
  const read = (index: number) => {
    controller.abort()
    return encoded.read(index)
  }
  const reading = decode({ ...encoded, read }, controller)
  await checkAbort(t, reading)
})

test('stand-ins come from the same class first, in cyclic order, and then from the others', (t) => {
  t.deepEqual([...substitutes(3, Int32Array.of(0, 1, 0, 1, 0, 1))], [5, 1, 4, 0, 2])
  t.deepEqual([...substitutes(0, Int32Array.of(7))], [])
})
