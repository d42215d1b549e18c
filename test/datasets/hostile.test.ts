import { createHash } from 'node:crypto'
import { readdir, readFile, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { gunzipSync, gzipSync } from 'node:zlib'
import type { ExecutionContext } from 'ava'
import { listDataset } from '../../datasets/index.js'
import { crc32 } from '../../lib/checksum.js'
import { createLabelWriter } from '../../lib/data/labels/label-writer.js'
import { openLabelMaps } from '../../lib/data/labels/token-labels.js'
import { identify } from '../../lib/data/source/fingerprint.js'
import { inMemorySplit } from '../../lib/data/source/in-memory.js'
import { packDataset } from '../../lib/data/source/packing.js'
import { AutoprogError } from '../../lib/errors.js'
import { draw, Purpose } from '../../lib/random.js'
import { classPictures, picture, temporaryFolder, writeTree } from '../data/images.js'
import { checkError } from '../error.js'
import { test } from '../serial.js'
import { type Members, writeTar } from './archives.js'

const given = process.env.AUTOPROG_CACHE
test.afterEach.always(() => {
  process.env.AUTOPROG_CACHE = given
})

/** Numbers that have gone wrong elsewhere, as text and in 32 bits. */
const texts = ['-1', '0', '1e999', '4294967296', '9007199254740993', '0.5', 'null', '{}', '[]', '""', '{"toString":1}']
const words = [0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0xfff00000, 0x7ff80000, 0x41f00000]

/** The same wrong bytes for a seed, at places from `first` to before `last`. */
function mutate(bytes: Buffer, seed: number, first: number, last: number): Buffer {
  const [kind, at, which, more] = draw(seed, Purpose.order, 0, 0) as [number, number, number, number]
  const place = first + (at % (last - first))
  const result = Buffer.from(bytes)
  switch (kind % 5) {
    case 0:
      result[place]! ^= 1 << (which % 8)
      return result
    case 1: {
      const aligned = Math.min(place - (place % 4), last - 4)
      result.writeUInt32LE(words[which % words.length]!, Math.max(first, aligned))
      return result
    }
    case 2:
      return result.fill(which % 2 === 0 ? 0 : 0xff, place, Math.min(last, place + (more % 64)))
    case 3: {
      const from = first + (which % (last - first))
      const length = Math.min(1 + (more % 64), last - Math.max(from, place))
      bytes.copy(result, place, from, from + length)
      return result
    }
    default:
      return mutateText(result, seed, first, last)
  }
}

/** Puts another value in the place of a number or a word. */
function mutateText(bytes: Buffer, seed: number, first: number, last: number): Buffer {
  const [at, which] = draw(seed, Purpose.order, 1, 0) as [number, number, number, number]
  const inside = bytes.toString('latin1', first, last)
  const values = [...inside.matchAll(/"[^"]*"|-?\d+/g)]
  const value = values[at % Math.max(1, values.length)]
  if (value === undefined) return bytes
  const changed =
    inside.slice(0, value.index) + texts[which % texts.length] + inside.slice(value.index + value[0].length)
  return Buffer.concat([bytes.subarray(0, first), Buffer.from(changed, 'latin1'), bytes.subarray(last)])
}

/** Counts the outcomes of `work` for many seeds: it may succeed, or fail with an error of ours. */
async function tryAll(t: ExecutionContext, seeds: number, work: (seed: number) => Promise<void>): Promise<void> {
  const outcomes = { fine: 0, refused: 0 }
  for (let seed = 0; seed < seeds; seed++) {
    try {
      await work(seed)
      outcomes.fine += 1
    } catch (error) {
      const known = error instanceof AutoprogError && ['DATA', 'IMAGE'].includes(error.code)
      if (!known) t.fail(`seed ${seed}: ${(error as Error).stack}`)
      outcomes.refused += 1
    }
  }
  t.true(outcomes.refused > seeds / 20 && outcomes.fine > 0, JSON.stringify(outcomes))
}

/** Lists the data and looks at all there is; images may be broken. */
async function exhaust(t: ExecutionContext, path: string): Promise<void> {
  const dataset = await listDataset(path, { halves: 'all' })
  try {
    for (const split of [dataset.train, dataset.test]) {
      t.is(split.labels.length, split.length)
      for (let index = 0; index < split.length; index++) {
        t.true(split.labels[index]! in dataset.classes, split.nameOf(index))
        await split.load(index).catch((error) => {
          if (error?.code !== 'IMAGE') throw error
        })
      }
    }
    t.true(dataset.classes.every((name) => typeof name === 'string'))
    await identify(dataset)
  } finally {
    await dataset.close()
  }
}

async function pictures(): Promise<Members> {
  return {
    ...(await classPictures('train/', ['a', 'b'], 2, (i) => ({ width: 8 + i }))),
    ...(await classPictures('val/', ['b'], 1)),
  }
}

async function writePairs(file: string): Promise<void> {
  const members: Members = {}
  for (const key of [1, 2, 3, 4]) {
    members[`${key}.png`] = await picture({ seed: key })
    members[`${key}.cls`] = `${key % 2}`
  }
  await writeTar(file, members)
}

/** A pack with its index, and the checksum that belongs to it, in the place of another. */
function withIndex(bytes: Buffer, index: Buffer): Buffer {
  const begin = Number(bytes.readBigUInt64LE(16))
  const result = Buffer.concat([bytes.subarray(0, begin), index])
  result.writeUInt32LE(crc32(index), 12)
  result.writeBigUInt64LE(BigInt(index.length), 24)
  return result
}

for (const raw of [false, true]) {
  test(`packs of ${raw ? 'pixels' : 'JPEG'} with a wrong index of the right checksum open, or are refused`, async (t) => {
    const root = await temporaryFolder()
    await writeTree(join(root, 'photos'), await pictures())
    const file = join(root, 'photos.pack')
    await packDataset(await listDataset(join(root, 'photos')), file, { raw })
    const bytes = await readFile(file)
    const index = bytes.subarray(Number(bytes.readBigUInt64LE(16)))
    await tryAll(t, 150, async (seed) => {
      await writeFile(file, withIndex(bytes, mutate(index, seed, 0, index.length)))
      await exhaust(t, file)
    })
    await tryAll(t, 40, async (seed) => {
      await writeFile(file, mutate(bytes, seed, 0, 32))
      await exhaust(t, file)
    })
    const json = index.subarray(4, 4 + index.readUInt32LE(0))
    for (const [from, to] of [
      ['"classes":["a","b"]', '"classes":["a",{} ]'],
      ['"classes":["a","b"]', '"classes":["a"    ]'],
      ['"channels":3', '"channels":2'],
      ['{"train":4', '{"train":9'],
      ['{"train":4', '{"trai":04'],
    ] as const) {
      const changed = Buffer.from(index)
      changed.write(json.toString().replace(from, to), 4)
      await writeFile(file, withIndex(bytes, changed))
      const error = await t.throwsAsync(listDataset(file), undefined, to)
      checkError(t, error, { code: 'DATA', message: /photos\.pack has an index that makes no sense: / })
    }
  })
}

/** Puts the right sum into every header of an archive. */
function withSums(bytes: Buffer): Buffer {
  for (let at = 0; at + 512 <= bytes.length; at += 512) {
    if (bytes.toString('latin1', at + 257, at + 262) !== 'ustar') continue
    bytes.write('        ', at + 148, 'latin1')
    const sum = bytes.subarray(at, at + 512).reduce((total, byte) => total + byte, 0)
    bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1')
  }
  return bytes
}

test('archives with wrong bytes open, or are refused', async (t) => {
  process.env.AUTOPROG_CACHE = ''
  const file = join(await temporaryFolder(), 'x.tar')
  const members: Members = { [`a/${'deep/'.repeat(40)}1.png`]: await picture({ seed: 3 }), ...(await pictures()) }
  for (const write of [() => writePairs(file), () => writeTar(file, members)]) {
    await write()
    const bytes = await readFile(file)
    for (const correct of [withSums, (same: Buffer) => same]) {
      await tryAll(t, 100, async (seed) => {
        // Most of an archive is contents; its headers begin every 512 bytes.
        const header = 512 * (seed % Math.floor(bytes.length / 512))
        await writeFile(file, correct(mutate(bytes, seed, header, header + 260)))
        await exhaust(t, file)
      })
    }
  }
})

test('a folder that claims to have contents ends a listing', async (t) => {
  t.timeout(60_000)
  const file = join(await temporaryFolder(), 'x.tar')
  await writeTar(file, { 'a/1.png': await picture(), 'x/': '', 'b/1.png': await picture() })
  const bytes = await readFile(file)
  const at = bytes.indexOf('x/\0')
  bytes.write('00000001000', at + 124, 'latin1')
  bytes.write('5', at + 156, 'latin1')
  await writeFile(file, withSums(bytes))
  await t.throwsAsync(listDataset(file), { code: 'DATA' })
})

test('kept scans of an archive with wrong values and the right digest are used, or made anew', async (t) => {
  const root = await temporaryFolder()
  process.env.AUTOPROG_CACHE = join(root, 'cache')
  const file = join(root, 'x.tar')
  await writePairs(file)
  await setTimeout(2100) // only what has not changed for so long is kept
  await exhaust(t, file)
  const [name] = await readdir(join(root, 'cache'))
  const kept = join(root, 'cache', name!)
  const json = gunzipSync(await readFile(kept)).subarray(65)
  let fine = 0
  for (let seed = 0; seed < 200; seed++) {
    const changed = mutate(json, seed, 0, json.length)
    const digest = createHash('sha256').update(changed.toString()).digest('hex')
    await writeFile(kept, gzipSync(Buffer.concat([Buffer.from(`${digest}\n`), Buffer.from(changed.toString())])))
    await exhaust(t, file).then(
      () => (fine += 1),
      (error) => t.is(error.code, 'DATA', `seed ${seed}: ${error.stack}`),
    )
  }
  t.true(fine > 100, `${fine}`)
  await utimes(file, 1, 1)
  await exhaust(t, file)
})

test('label maps with wrong bytes open, or are refused', async (t) => {
  const file = join(await temporaryFolder(), 'maps.safetensors')
  const [classes, names] = [
    ['a', 'b'],
    ['a/1.jpg', 'a/2.jpg', 'b/1.jpg'],
  ]
  const writer = await createLabelWriter(file, { names, shape: [2, 2, 2], classes, made: { model: 'x' } })
  await writer.write(0, { classes: new Int32Array(24).fill(1), scores: new Float32Array(24).fill(0.25) })
  await writer.finish()
  const bytes = await readFile(file)
  const split = inMemorySplit({
    ...{ pixels: new Uint8Array(3), labels: Int32Array.of(0, 0, 1), height: 1, width: 1, channels: 1 },
    nameOf: (index) => names[index]!,
  })
  const header = 8 + Number(bytes.readBigUInt64LE(0))
  await tryAll(t, 300, async (seed) => {
    const changed = mutate(bytes, seed, seed % 3 === 0 ? 0 : 8, seed % 5 === 0 ? bytes.length : header)
    if (changed.length !== bytes.length) changed.writeBigUInt64LE(BigInt(header - 8 + changed.length - bytes.length), 0)
    await writeFile(file, changed)
    const maps = await openLabelMaps(file, { split, classes })
    try {
      await maps.batch(Int32Array.of(0, 1, 2))
    } finally {
      await maps.close()
    }
  })
})
