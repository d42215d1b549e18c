import { mkdir, readdir, readFile, rename, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { LabelFile } from '../../../lib/data/labels/label-writer.js'
import { createLabelWriter, partOf } from '../../../lib/data/labels/label-writer.js'
import type { Labels } from '../../../lib/data/labels/token-labels.js'
import { classLabelMaps, openLabelMaps } from '../../../lib/data/labels/token-labels.js'
import { createLoader } from '../../../lib/data/loader.js'
import type { Split } from '../../../lib/data/source/dataset.js'
import { inMemorySplit } from '../../../lib/data/source/in-memory.js'
import { toHalves } from '../../../lib/half.js'
import { draw, toInteger } from '../../../lib/random.js'
import { checkError } from '../../error.js'
import { same } from '../../same.js'
import { test } from '../../serial.js'
import { shifted, temporaryFolder, writeTree } from '../images.js'

const classes = ['cat', 'dog', 'owl']
const shape = [2, 3, 4] as const
const rowSize = 24

/** Images by their names; those in the folder of a class have its label. */
function splitOf(names: readonly string[]): Split {
  return inMemorySplit({
    pixels: new Uint8Array(names.length * 4),
    labels: Int32Array.from(names, (name) => Math.max(0, classes.indexOf(name.split('/').at(-2) ?? ''))),
    ...{ height: 2, width: 2, channels: 1 },
    nameOf: (index) => names[index]!,
  })
}

const names = ['/data/cat/1.jpg', '/data/cat/2.jpg', '/data/dog/1.jpg', '/data/owl/7.png', '/data/owl/8.png']

/** Maps of the images from `first` to before `last`; scores that 16 bits hold, at most 3 / 4 at a position. */
function labelsOf(first: number, last: number): Labels {
  const words = Array.from({ length: (last - first) * rowSize }, (_, i) => draw(5, 1, 0, first * rowSize + i))
  return {
    classes: Int32Array.from(words, ([word]) => toInteger(word, classes.length)),
    scores: Float32Array.from(words, ([, word]) => toInteger(word, 4) / 8),
  }
}

const made = { data: 'pets', model: 'vit', weights: 'model 1234', resolution: '32' }
const fileOf = (more: Partial<LabelFile> = {}): LabelFile => ({
  ...{ names: names.map((name) => name.slice('/data/'.length)), shape, classes, made },
  ...more,
})

async function write(path: string, file = fileOf()): Promise<void> {
  const writer = await createLabelWriter(path, file)
  await writer.write(0, labelsOf(0, file.names.length))
  await writer.finish()
}

interface Part {
  dtype: string
  shape: readonly number[]
  data: Uint8Array
}

/** A safetensors file, from the format's description. */
function tensorFile(parts: Record<string, Part>, metadata?: Record<string, string>): Buffer {
  let end = 0
  const header = Object.fromEntries(
    Object.entries(parts).map(([name, { data, ...rest }]) => {
      end += data.length
      return [name, { ...rest, data_offsets: [end - data.length, end] }]
    }),
  )
  const text = Buffer.from(JSON.stringify({ ...(metadata && { __metadata__: metadata }), ...header }))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  return Buffer.concat([length, text, ...Object.values(parts).map(({ data }) => data)])
}

const bytes = (values: { buffer: ArrayBufferLike }) => new Uint8Array(values.buffer)
const halfBytes = (values: readonly number[]) => bytes(toHalves(Float32Array.from(values)))

/** As published: scores, then classes, all in 16 bits. */
const published = (scores: readonly number[], labels: readonly number[], extents: readonly number[]) =>
  tensorFile({ map: { dtype: 'F16', shape: [2, ...extents], data: halfBytes([...scores, ...labels]) } })

test('a file of label maps: gives each image what was written for it, alone and in batches', async (t) => {
  const path = join(await temporaryFolder(), 'labels.safetensors')
  await write(path)
  const maps = await openLabelMaps(path, { split: splitOf(names), classes })
  t.deepEqual([maps.shape, maps.logits, maps.found, maps.notices], [[2, 3, 4], false, 5, []])
  for (const index of names.keys()) t.deepEqual(await maps.at(index), labelsOf(index, index + 1))
  const batch = await maps.batch(Int32Array.of(3, 1, 1))
  const alone = await Promise.all([3, 1, 1].map((index) => maps.at(index)))
  t.deepEqual(
    [...batch.classes],
    alone.flatMap((labels) => [...labels.classes]),
  )
  t.deepEqual(
    [...batch.scores],
    alone.flatMap((labels) => [...labels.scores]),
  )
  await maps.close()
  await maps.close()
  await t.throwsAsync(maps.at(0), { code: 'DATA', message: /is closed/ })
})

test('a file of label maps: finds images wherever they lie, and whatever the order', async (t) => {
  const path = join(await temporaryFolder(), 'labels.safetensors')
  await write(path)
  for (const moved of [
    ['photos.tar/train/owl/7.png', 'photos.tar/train/cat/2.jpg'],
    ['C:\\photos\\owl\\7.png', 'C:\\photos\\cat\\2.jpg'],
    ['/data/owl/7.png in /packs/a.pack', '/data/cat/2.jpg in /packs/a.pack'],
  ]) {
    const maps = await openLabelMaps(path, { split: splitOf(moved), classes })
    t.deepEqual(await maps.at(0), labelsOf(3, 4))
    t.deepEqual(await maps.at(1), labelsOf(1, 2))
    await maps.close()
  }
})

test('a file of label maps: goes by the whole name where class folder and file name are not unique', async (t) => {
  const path = join(await temporaryFolder(), 'labels.safetensors')
  const twins = ['/a/cat/1.jpg', '/b/cat/1.jpg', '/b/dog/2.jpg']
  await write(path, fileOf({ names: twins }))
  const maps = await openLabelMaps(path, { split: splitOf([...twins].reverse()), classes })
  t.is(maps.found, 3)
  for (const index of [0, 1, 2]) t.deepEqual(await maps.at(index), labelsOf(2 - index, 3 - index))
  await maps.close()
  const moved = await openLabelMaps(path, {
    split: splitOf(['/c/cat/1.jpg', '/c/dog/2.jpg', '/d/cat/1.jpg']),
    classes,
  })
  t.is(moved.found, 1, 'which of the two is meant, nobody knows')
  await moved.close()
})

test('a file of label maps: leaves images without a map to their class label, and says how many', async (t) => {
  const path = join(await temporaryFolder(), 'labels.safetensors')
  await write(path)
  const split = splitOf(['/data/dog/9.jpg', '/data/cat/1.jpg', '/data/owl/9.jpg'])
  const maps = await openLabelMaps(path, { split, classes })
  t.deepEqual(maps.notices, [`2 of 3 training images have no label map in ${path}: their class label stands in`])
  const { classes: labels, scores } = await maps.at(0)
  t.true(labels.every((label) => label === 1))
  t.deepEqual([...scores], [...Array<number>(12).fill(1), ...Array<number>(12).fill(0)])
  t.deepEqual(await maps.at(1), labelsOf(0, 1))
  await maps.close()
})

test('a file of label maps: travels with the batches of a loader', async (t) => {
  const path = join(await temporaryFolder(), 'labels.safetensors')
  await write(path)
  const split = splitOf(names)
  const maps = await openLabelMaps(path, { split, classes })
  const options = { batch: 2, seed: 1, shuffle: true, augmentation: shifted, labelMaps: maps }
  let seen = 0
  for await (const { indices, labelMaps, regions } of createLoader(split, options).batches({ steps: 5 })) {
    t.deepEqual(labelMaps, await maps.batch(indices))
    t.is(regions!.length, 10)
    seen++
  }
  t.is(seen, 5)
  await maps.close()
})

test('a file of label maps: of other classes, other images or damaged is refused, and says what to do', async (t) => {
  const folder = await temporaryFolder()
  const path = join(folder, 'labels.safetensors')
  await write(path)
  const split = splitOf(names)
  const refused = async (given: string, message: RegExp, data = { split, classes }) =>
    checkError(t, await t.throwsAsync(openLabelMaps(given, data)), { code: 'DATA', message, hint: /./ })
  await refused(path, /label maps for other images: none of the 2 training images/, {
    ...{ split: splitOf(['/data/cat/5.jpg', '/data/dog/5.jpg']), classes },
  })
  await refused(path, /of 3 classes, and the dataset has 4/, { split, classes: [...classes, 'yak'] })
  await refused(path, /class 1 is dog there and cow here/, { split, classes: ['cat', 'cow', 'owl'] })
  await refused(join(folder, 'nowhere'), /There are no label maps at/)
  await writeFile(join(folder, 'text'), 'hello')
  await refused(join(folder, 'text'), /no valid safetensors|not a valid safetensors file/)
  await writeFile(join(folder, 'empty'), '')
  await refused(join(folder, 'empty'), /it has 0 bytes/)
  const cut = join(folder, 'cut')
  await writeFile(cut, await readFile(path))
  await truncate(cut, (await stat(path)).size - 9)
  await refused(cut, /names lies at bytes .*cut off/)
  const other = tensorFile({ x: { dtype: 'U8', shape: [2], data: Uint8Array.of(1, 2) } })
  await writeFile(join(folder, 'other'), other)
  await refused(join(folder, 'other'), /holds no label maps: it holds x/)
  await writeFile(join(folder, 'unknown'), tensorFile({ x: { dtype: 'F64', shape: [1], data: new Uint8Array(8) } }))
  await refused(join(folder, 'unknown'), /x has type F64/)
  await writeTree(join(folder, 'none'), { 'cat/1.txt': 'no map' })
  await refused(join(folder, 'none'), /it is a folder without \.safetensors files/)

  const parts = (labels: number[], scores: number[], list: unknown = ['cat/1.jpg']) => ({
    classes: { dtype: 'I32', shape: [1, 1, 1, 2], data: bytes(Int32Array.from(labels)) },
    scores: { dtype: 'F32', shape: [1, 1, 1, 2], data: bytes(Float32Array.from(scores)) },
    names: { dtype: 'U8', shape: [JSON.stringify(list).length], data: Buffer.from(JSON.stringify(list)) },
  })
  for (const [labels, scores, list, message] of [
    [[0, 3], [1, 1], ['cat/1.jpg'], /that of cat\/1\.jpg in .* names class 3, and the dataset has 3/],
    [[0, -1], [1, 1], ['cat/1.jpg'], /names class -1/],
    [[0, 1], [1, Number.NaN], ['cat/1.jpg'], /holds the score NaN/],
    [[0, 1], [1, 1], ['cat/1.jpg', 'cat/2.jpg'], /it holds 1 maps and 2 names/],
    [[0, 1], [1, 1], { a: 1 }, /its names are no JSON list/],
  ] as const) {
    await writeFile(join(folder, 'wrong'), tensorFile(parts([...labels], [...scores], list)))
    await refused(join(folder, 'wrong'), message)
  }
  await writeFile(join(folder, 'wrong'), tensorFile(parts([0, 1], [2, 1]), { scores: 'probabilities' }))
  await refused(join(folder, 'wrong'), /scores that are no probabilities/)
  await writeFile(join(folder, 'wrong'), tensorFile(parts([0, 1], [1, 1]), { classes: '3' }))
  await refused(join(folder, 'wrong'), /the names of its classes are no JSON list/)
})

const extents = [2, 1, 2] as const
const probabilities = [0.5, 0.75, 0.25, 0.125]
const logits = [9, 8.5, 3, -1]
const labels = [0, 2, 1, 0]

test('a folder of published maps: gives each image its file, by class folder and name', async (t) => {
  const folder = await temporaryFolder()
  await writeTree(folder, {
    'cat/1.safetensors': published(probabilities, labels, extents),
    'owl/7.safetensors': published([0, 0, 0, 0], [1, 1, 1, 1], extents),
  })
  const maps = await openLabelMaps(folder, { split: splitOf(names), classes })
  t.deepEqual([maps.shape, maps.logits, maps.found], [[2, 1, 2], false, 2])
  t.regex(maps.notices.join(), /^3 of 5 training images have no label map/)
  t.deepEqual(await maps.at(0), { classes: Int32Array.from(labels), scores: Float32Array.from(probabilities) })
  same(t, (await maps.at(3)).classes, Int32Array.of(1, 1, 1, 1))
  await maps.close()
})

test('a folder of published maps: whose scores are no probabilities holds logits', async (t) => {
  const folder = await temporaryFolder()
  await writeTree(folder, { 'cat/1.safetensors': published(logits, labels, extents) })
  const maps = await openLabelMaps(folder, { split: splitOf(names), classes })
  t.is(maps.logits, true)
  same(t, (await maps.at(0)).scores, Float32Array.from(logits))
  const { classes: own, scores } = await maps.at(3) // without a map: as good as certain
  t.deepEqual(
    [[...own], [...scores]],
    [
      [2, 2, 2, 2],
      [40, 40, 0, 0],
    ],
  )
})

test('a folder of published maps: of different sizes, or with a file that is no map, names the file', async (t) => {
  const folder = await temporaryFolder()
  await writeTree(folder, {
    'cat/1.safetensors': published(probabilities, labels, extents),
    'cat/2.safetensors': published([...logits, ...logits], [...labels, ...labels], [2, 2, 2]),
  })
  await t.throwsAsync(openLabelMaps(folder, { split: splitOf(names), classes }), {
    ...{ code: 'DATA', message: /cat\/2\.safetensors holds no label maps: it is of 2 x 2 x 2, and the first/ },
  })
  const other = await temporaryFolder()
  await writeTree(other, {
    'cat/1.safetensors': tensorFile({ x: { dtype: 'U8', shape: [0], data: new Uint8Array() } }),
  })
  await t.throwsAsync(openLabelMaps(other, { split: splitOf(names), classes }), {
    message: /holds no tensor named map/,
  })
  const flat = await temporaryFolder()
  await writeTree(flat, {
    'cat/1.safetensors': tensorFile({ map: { dtype: 'F16', shape: [2, 2], data: halfBytes([1, 2, 3, 4]) } }),
  })
  await t.throwsAsync(openLabelMaps(flat, { split: splitOf(names), classes }), {
    message: /its map has shape \[2, 2\]/,
  })
})

test('class labels stand in for maps that nobody has', async (t) => {
  const maps = classLabelMaps(splitOf(names))
  t.deepEqual(maps.notices, ["no label maps: tokens are labelled by their image's class"])
  t.deepEqual(maps.shape, [1, 1, 1])
  const wanted = { classes: Int32Array.of(2, 0), scores: Float32Array.of(1, 1) }
  t.deepEqual(await maps.batch(Int32Array.of(4, 1)), wanted)
})

test('the writer: goes on with what is there, and ends with the same bytes as in one go', async (t) => {
  const folder = await temporaryFolder()
  const [whole, pieces] = [join(folder, 'whole.safetensors'), join(folder, 'pieces.safetensors')]
  await write(whole)
  for (const [from, to] of [
    [0, 2],
    [1, 4], // the last one again
    [4, 5],
  ] as const) {
    const writer = await createLabelWriter(pieces, fileOf())
    t.is(writer.done, from === 0 ? 0 : from === 1 ? 2 : 4)
    await t.throwsAsync(writer.finish(), { code: 'DATA', message: /has \d of 5 label maps/ })
    await t.throwsAsync(writer.write(5, labelsOf(0, 1)), { code: 'DATA' })
    await writer.write(from, labelsOf(from, to))
    if (to === 5) t.deepEqual(await writer.finish(), { bytes: (await stat(whole)).size })
    await writer.close()
  }
  same(t, await readFile(pieces), await readFile(whole))
  t.deepEqual((await readdir(folder)).sort(), ['pieces.safetensors', 'whole.safetensors'])
})

test('the writer: does not mix maps of two models, datasets or settings', async (t) => {
  const path = join(await temporaryFolder(), 'labels.safetensors')
  const begin = async (file: LabelFile, replace = false) => {
    const writer = await createLabelWriter(path, file, replace)
    const { done } = writer
    await writer.write(done, labelsOf(done, done + 1))
    await writer.close()
    return done
  }
  t.is(await begin(fileOf()), 0)
  t.is(await begin(fileOf()), 1)
  for (const [more, message] of [
    [
      { made: { ...made, weights: 'model 5678' } },
      /labels\.safetensors\.part was begun with other .*: weights differs/,
    ],
    [{ made: { ...made, model: 'volo', data: 'x' } }, /data, model differ$/],
    [{ classes: ['cat', 'dog', 'yak'] }, /classes differs/],
    [{ names: names.map((name) => name.replace('data', 'pets').slice(1)) }, /number of images or the size/],
    [{ names: names.map((name) => name.replace('jpg', 'gif').slice('/data/'.length)) }, /the images differ/],
    [{ shape: [2, 4, 3] as const }, /the number of images or the size of the maps differs/],
  ] as const)
    checkError(t, await t.throwsAsync(begin(fileOf(more))), { code: 'DATA', message, hint: /--force/ })
  t.is(await begin(fileOf()), 2, 'what was there is as it was')
  t.is(await begin(fileOf({ made: { ...made, model: 'volo' } }), true), 0)
  await writeFile(partOf(path), 'rubbish')
  await t.throwsAsync(begin(fileOf()), { code: 'DATA', message: /is not a valid safetensors file/ })
  t.is(await begin(fileOf(), true), 0)
})

test('the writer: begins anew where a part has no row yet, and touches nothing else', async (t) => {
  const path = join(await temporaryFolder(), 'maps.safetensors')
  await write(path)
  const whole = await readFile(path)
  const headerBytes = 8 + Number(whole.readBigUInt64LE(0))
  const begun = await createLabelWriter(path, fileOf())
  await begun.close()
  const header = (await readFile(partOf(path))).subarray(0, headerBytes)
  for (const left of [Buffer.alloc(0), header.subarray(0, 5), header.subarray(0, 100), header, Buffer.alloc(300)]) {
    await writeFile(partOf(path), left)
    await write(path)
    same(t, await readFile(path), whole)
  }
  for (const other of [Buffer.from('notes'), Buffer.concat([header.subarray(0, 50), Buffer.from('rubbish')])]) {
    await writeFile(partOf(path), other)
    await t.throwsAsync(createLabelWriter(path, fileOf()), { code: 'DATA', message: /maps\.safetensors\.part / })
    same(t, await readFile(partOf(path)), other)
  }
})

test('hostile headers are refused as what they are', async (t) => {
  const folder = await temporaryFolder()
  const data = { split: splitOf(names), classes }
  const rows = { dtype: 'F16', shape: [1, 1, 1, 1], data: new Uint8Array(2) }
  const own = { dtype: 'U8', shape: [4], data: Buffer.from('["x"]'.slice(0, 4)) }
  const odd = (value: unknown) => value as string
  const vast = { dtype: 'F16', shape: [1, 2 ** 12, 2 ** 12, 2], data: new Uint8Array() }
  const cases: [Buffer, RegExp][] = [
    [
      tensorFile({ classes: rows, scores: rows, names: own }, { a: odd({ toString: 1 }) }),
      /metadata are not all texts/,
    ],
    [tensorFile({ classes: { ...rows, dtype: odd({ toString: 1 }) } }), /has type an object/],
    [tensorFile({ classes: rows, scores: rows, names: own }), /names are no JSON list/],
    [tensorFile({ classes: vast, scores: vast, names: own }), /should have \d+ bytes but has 0/],
    [tensorFile({ ['__proto__']: rows }), /holds __proto__/],
  ]
  for (const [content, message] of cases) {
    const file = join(folder, 'hostile.safetensors')
    await writeFile(file, content)
    checkError(t, await t.throwsAsync(openLabelMaps(file, data)), { code: 'DATA', message })
  }
  const large = join(folder, 'large.safetensors')
  const claimed = tensorFile({ map: { dtype: 'F16', shape: [2, 2 ** 10, 2 ** 7, 2 ** 8], data: new Uint8Array() } })
  const text = claimed.toString('utf8', 8).replace('[0,0]', `[0,${2 ** 27}]`)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  await mkdir(join(folder, 'maps', 'cat'), { recursive: true })
  await writeFile(large, Buffer.concat([length, Buffer.from(text)]))
  await truncate(large, 8 + text.length + 2 ** 27) // sparse
  await rename(large, join(folder, 'maps', 'cat', '1.safetensors'))
  const error = await t.throwsAsync(openLabelMaps(join(folder, 'maps'), data))
  checkError(t, error, { code: 'DATA', message: /has more than 16,777,216 values/ })
})

test('names and classes match in either form of Unicode', async (t) => {
  const path = join(await temporaryFolder(), 'maps.safetensors')
  const [composed, decomposed] = ['\u00fc', 'u\u0308']
  const file = fileOf({ names: [`${decomposed}/${decomposed}.jpg`], classes: [decomposed, 'dog', 'owl'] })
  await write(path, file)
  const data = { split: splitOf([`/data/${composed}/${composed}.jpg`]), classes: [composed, 'dog', 'owl'] }
  const maps = await openLabelMaps(path, data)
  t.is(maps.found, 1)
  await maps.close()
})

test('the writer: says where it cannot write', async (t) => {
  const path = join(await temporaryFolder(), 'missing', 'labels.safetensors')
  await t.throwsAsync(createLabelWriter(path, fileOf()), { code: 'DATA', message: /^Cannot write .*ENOENT/ })
})

test('the writer: holds classes beyond 32,767 in 32 bits', async (t) => {
  const path = join(await temporaryFolder(), 'labels.safetensors')
  const many = Array.from({ length: 2 ** 15 + 1 }, (_, label) => `class ${label}`)
  const writer = await createLabelWriter(path, fileOf({ names: ['cat/1.jpg'], shape: [1, 1, 1], classes: many }))
  await writer.write(0, { classes: Int32Array.of(2 ** 15), scores: Float32Array.of(0.5) })
  await writer.finish()
  const maps = await openLabelMaps(path, { split: splitOf(['x/cat/1.jpg']), classes: many })
  t.deepEqual(await maps.at(0), { classes: Int32Array.of(2 ** 15), scores: Float32Array.of(0.5) })
  await maps.close()
})
