import { access, readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { loadImageFolder } from '../../datasets/image-folder.js'
import { loadDataset } from '../../datasets/index.js'
import { loadPack } from '../../datasets/pack.js'
import { transformImages } from '../../lib/data/image/operations.js'
import { createLoader } from '../../lib/data/loader.js'
import type { Split } from '../../lib/data/source/dataset.js'
import { type PackOptions, packDataset } from '../../lib/data/source/packing.js'
import { resolveConfig } from '../../lib/recipe/config.js'
import { train } from '../../lib/training/trainer.js'
import { classPictures, deit, noise, type PictureOptions, temporaryFolder, writeTree } from '../data/images.js'
import { checkAbort, checkError } from '../error.js'
import { same } from '../same.js'
import { test } from '../serial.js'

const mixed = (i: number): PictureOptions => ({ height: 40 + i, width: 70 - (i % 9), format: 'jpeg' })

/** A folder of pictures and its pack. */
async function packed(options: PackOptions = {}, picture?: (i: number) => PictureOptions, count = 6) {
  const root = await temporaryFolder()
  const folder = join(root, 'pets')
  await writeTree(folder, await classPictures('train/', ['cat', 'dög'], count, picture))
  await writeTree(folder, await classPictures('val/', ['cat', 'dög'], 2, picture))
  const dataset = await loadImageFolder(folder)
  const file = join(root, 'pets.pack')
  const result = await packDataset(dataset, file, options)
  return { root, folder, dataset, file, result }
}

const indicesOf = (split: Split) => Array.from({ length: split.length }, (_, index) => index)
const pixelsOf = (split: Split) =>
  Promise.all(indicesOf(split).map(async (index) => new Uint8Array((await split.load(index)).pixels)))

/** Flips a bit in the bytes of a training image. */
async function damage(file: string, index: number): Promise<void> {
  const bytes = await readFile(file)
  bytes[imageStarts(bytes)[index]! + 30]! ^= 4
  await writeFile(file, bytes)
}

/** Where the training images begin: the first column of the index. */
function imageStarts(bytes: Buffer): Float64Array {
  const index = Number(bytes.readBigUInt64LE(16))
  const json = 4 + bytes.readUInt32LE(index)
  const { lengths } = JSON.parse(bytes.toString('utf8', index + 4, index + json)) as { lengths: { train: number } }
  const columns = index + Math.ceil(json / 8) * 8
  return new Float64Array(new Uint8Array(bytes.subarray(columns, columns + 8 * lengths.train)).buffer)
}

test('raw pixels come back as they were, under the same names, labels and halves', async (t) => {
  for (const picture of [undefined, mixed]) {
    const { dataset, file, folder } = await packed({ raw: true }, picture)
    const pack = await loadDataset(file)
    t.deepEqual([pack.name, pack.classes, pack.channels], ['pets.pack', ['cat', 'dög'], 3])
    for (const half of ['train', 'test'] as const) {
      t.deepEqual(pack[half].uniform, dataset[half].uniform)
      t.is(pack[half].pixels === undefined, picture !== undefined)
      t.deepEqual([...pack[half].labels], [...dataset[half].labels])
      same(t, await pixelsOf(pack[half]), await pixelsOf(dataset[half]))
      const names = indicesOf(dataset[half]).map((index) => `${dataset[half].nameOf(index)} in ${file}`)
      t.deepEqual(indicesOf(pack[half]).map(pack[half].nameOf), names)
    }
    t.regex(pack.notices.join('\n'), /packed from pets \(at most 288 px, raw pixels\)\n.*those in val\//)
    t.true(pack.train.nameOf(0).startsWith(folder))
    await pack.close()
    await pack.close()
  }
})

test('images are made smaller by the antialiased filter, never larger', async (t) => {
  const { dataset, file } = await packed({ raw: true, maxSize: 50 }, mixed)
  const pack = await loadPack(file)
  for (const index of indicesOf(dataset.train)) {
    const image = await dataset.train.load(index)
    const { height, width } = image
    const scale = Math.min(1, 50 / Math.max(height, width))
    const size = { height: Math.round(height * scale), width: Math.round(width * scale) }
    const wanted = new Uint8Array(size.height * size.width * 3)
    const region = [0, 0, width, height] as const
    const plan = scale === 1 ? [] : [{ op: 'resize', ...size, filter: 'bicubic', region } as const]
    await transformImages([image], 3, [plan], size, wanted)
    const { pixels, ...found } = await pack.train.load(index)
    t.deepEqual(found, { ...size, channels: 3 })
    same(t, new Uint8Array(pixels), wanted)
  }
  await pack.close()
})

test('JPEG files are close to the images, closer at a higher quality; grey ones stay grey', async (t) => {
  const error = async (quality: number) => {
    const { dataset, file } = await packed({ quality })
    const pack = await loadPack(file)
    const [a, b] = [await pixelsOf(dataset.train), await pixelsOf(pack.train)]
    await pack.close()
    const differences = a.flatMap((pixels, i) => Array.from(pixels, (value, j) => Math.abs(value - b[i]![j]!)))
    return differences.reduce((sum, each) => sum + each) / differences.length
  }
  const [fine, coarse] = [await error(95), await error(60)]
  t.true(fine < 6 && fine < coarse / 2, `${fine} against ${coarse}, of noise`)

  const { dataset, root } = await packed()
  const load = async () => ({ pixels: noise(30 * 20), height: 30, width: 20, channels: 1 as const })
  const grey: Split = { ...dataset.train, uniform: undefined, load }
  const file = join(root, 'grey.pack')
  await packDataset({ ...dataset, channels: 1, train: grey, test: grey }, file)
  const pack = await loadPack(file)
  t.deepEqual(pack.train.uniform, { height: 30, width: 20 })
  t.is(pack.train.pixels!(0).length, 600)
  await pack.close()
})

test('the same images make the same file', async (t) => {
  const { dataset, file, root } = await packed({}, mixed, 70) // more than one chunk of work
  await packDataset(dataset, join(root, 'again.pack'))
  same(t, await readFile(join(root, 'again.pack')), await readFile(file))
  t.deepEqual((await readdir(root)).sort(), ['again.pack', 'pets', 'pets.pack'])
})

test('while packing, a broken image is told of and replaced; too many leave nothing behind', async (t) => {
  const { folder, root } = await packed()
  await writeTree(folder, {
    'train/cat/02.png': 'rubbish',
    'train/cat/03.png': (await classPictures('', ['x'], 1, mixed))['x/00.png']!,
  })
  const dataset = await loadImageFolder(folder, { maxBroken: 0.2 })
  t.is(dataset.train.uniform, undefined)
  const file = join(root, 'broken.pack')
  const refused = { code: 'DATA', message: /^1 of 12 images are broken: .*cat\/02\.png: / }
  await t.throwsAsync(packDataset(dataset, file, { maxBroken: 0 }), refused)
  t.deepEqual((await readdir(root)).sort(), ['pets', 'pets.pack'])
  const { notices } = await packDataset(dataset, file, { raw: true, maxBroken: 0.1 })
  t.regex(notices.at(-1)!, /^1 of 12 images are broken, others stand in: .*cat\/02\.png: /)
  const pack = await loadPack(file)
  t.is(pack.train.nameOf(2), pack.train.nameOf(3))
  t.deepEqual(await pack.train.load(2), await pack.train.load(3))
  t.true(pack.notices.includes(notices.at(-1)!))
  await pack.close()
})

test('a flipped bit is a broken image with its name, and another stands in for it', async (t) => {
  for (const [options, picture] of [
    [{}, mixed],
    [{ raw: true }, mixed],
    [{ raw: true }, undefined],
  ] as const) {
    const { file } = await packed(options, picture)
    await damage(file, 3)
    const message = /cat\/03\.png in .*pets\.pack: its bytes have changed since it was packed/
    if (picture === undefined) {
      await t.throwsAsync(loadPack(file, { maxBroken: 0 }), { code: 'DATA', message })
      const { train, notices, close } = await loadPack(file, { maxBroken: 0.1 })
      same(t, train.pixels!(3), train.pixels!(4))
      t.regex(notices.at(-1)!, message)
      await close()
      continue
    }
    const { train, close } = await loadPack(file)
    await t.throwsAsync(train.load(3), { code: 'IMAGE', message })
    const told: string[] = []
    const onBroken = (text: string) => told.push(text)
    const loader = createLoader(train, { batch: 12, seed: 0, shuffle: false, maxBroken: 0.1, onBroken })
    for await (const { indices } of loader.batches({ sizeOf: () => 16 })) {
      t.deepEqual([...indices], [0, 1, 2, 4, 4, 5, 6, 7, 8, 9, 10, 11])
    }
    t.regex(told.join(), message)
    await close()
  }
})

test('what is cut off, damaged, foreign or of another version is refused with a hint', async (t) => {
  const { file, root } = await packed({}, mixed)
  const bytes = await readFile(file)
  const changed = (at: number, value: number) => bytes.map((byte, index) => (index === at ? value : byte))
  const cases: [bytes: Uint8Array, message: RegExp][] = [
    [bytes.subarray(0, bytes.length - 1), /is cut off: \d+ bytes where \d+ are due/],
    [bytes.subarray(0, 1000), /is cut off: 1000 bytes/],
    [bytes.subarray(0, 20), /is not a packed dataset/],
    [new Uint8Array(0), /is not a packed dataset/],
    [Buffer.from('rubbish '.repeat(100)), /is not a packed dataset/],
    [changed(8, 9), /is a packed dataset of version 9, not 1/],
    [changed(bytes.length - 20, 1), /has a damaged index/],
    [changed(17, bytes[17]! - 1), /has a damaged index/],
    [Buffer.concat([bytes, Buffer.from('x')]), /has a damaged index/],
  ]
  for (const [content, message] of cases) {
    const wrong = join(root, 'wrong.pack')
    await writeFile(wrong, content)
    checkError(t, await t.throwsAsync(loadDataset(wrong)), { code: 'DATA', message, hint: /autoprog pack/ })
  }
  await t.throwsAsync(loadPack(join(root, 'absent.pack')), { code: 'DATA', message: /ENOENT/ })
  const pack = await loadPack(file)
  await truncate(file, 500)
  await t.throwsAsync(pack.train.load(5), { code: 'IMAGE', message: /wrong checksum/ })
  await pack.close()
  await t.throwsAsync(pack.train.load(0), { code: 'DATA', message: /pets\.pack is closed/ })
})

test('bad options, a folder that is not there and an abort write nothing', async (t) => {
  const { dataset, root } = await packed()
  const file = join(root, 'x.pack')
  for (const options of [{ maxSize: 0 }, { maxSize: 1.5 }, { quality: 101 }, { quality: 0 }]) {
    await t.throwsAsync(packDataset(dataset, file, options), { code: 'CONFIG', message: /an integer from 1 to/ })
  }
  const absent = join(root, 'absent', 'x.pack')
  await t.throwsAsync(packDataset(dataset, absent), { code: 'DATA', message: /Cannot write .*ENOENT/ })
  await checkAbort(t, packDataset(dataset, file, { signal: AbortSignal.abort() }))
  const stop = new AbortController()
  const stopping = packDataset(dataset, file, { signal: stop.signal, onProgress: () => stop.abort() })
  await checkAbort(t, stopping)
  await t.throwsAsync(access(file))
  t.deepEqual((await readdir(root)).sort(), ['pets', 'pets.pack'])
})

test('batches of a raw pack are those of the folder', async (t) => {
  const { dataset, file } = await packed({ raw: true }, mixed)
  const pack = await loadPack(file)
  const batches = async (split: Split) => {
    const loader = createLoader(split, { batch: 4, seed: 7, shuffle: true, augmentation: deit })
    const all: unknown[] = []
    for await (const { images, labels, indices } of loader.batches({ steps: 6, sizeOf: () => 24 })) {
      all.push([images, labels, indices])
    }
    return all
  }
  t.deepEqual(await batches(pack.train), await batches(dataset.train))
  await pack.close()
})

test('training on a pack is repeatable, and the same as on the folder where pixels are', async (t) => {
  const { folder, file } = await packed({ raw: true }, () => ({ height: 16, width: 16 }), 8)
  const losses = async (data: string) => {
    const config = resolveConfig({
      data,
      model: { kind: 'vit', imageSize: 16, patchSize: 4, embedDim: 24, depth: 2, heads: 2 },
      epochs: 3,
      batch: 4,
      threads: 1,
      device: 'cpu',
      schedule: { kind: 'original' },
      learningRate: { warmupEpochs: 1 },
    })
    const found: number[] = []
    for await (const event of train(config)) if (event.type === 'step') found.push(event.loss)
    return found
  }
  const first = await losses(file)
  t.is(first.length, 12)
  t.deepEqual(await losses(file), first)
  t.deepEqual(await losses(folder), first)
})
