import { readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import { pack } from 'tar-stream'
import { loadTar } from '../../datasets/tar.js'
import { classPictures, noise, picture, temporaryFolder } from '../data/images.js'
import { checkError } from '../error.js'
import { same } from '../same.js'
import { test } from '../serial.js'

type Members = Record<string, Uint8Array | 'folder' | 'link'>

async function archive(members: Members): Promise<Buffer> {
  const packing = pack()
  for (const [name, content] of Object.entries(members)) {
    if (content === 'folder') packing.entry({ name, type: 'directory' })
    else if (content === 'link') packing.entry({ name, type: 'symlink', linkname: 'elsewhere' })
    else packing.entry({ name }, content)
  }
  packing.finalize()
  return buffer(packing as unknown as AsyncIterable<Buffer>)
}

async function write(name: string, members: Members): Promise<string> {
  const file = join(await temporaryFolder(), name)
  await writeFile(file, await archive(members))
  return file
}

test('members are read in place, whatever is around and before them', async (t) => {
  const files: Members = { './': 'folder', './set/': 'folder', './set/cat/': 'folder' }
  const long = `${'long-'.repeat(40)}name`
  for (let i = 0; i < 6; i++) {
    files[`./set/cat/${i}.png`] = await picture({ seed: i })
    files[`./set/dog/${i === 3 ? long : i}.png`] = await picture({ seed: 10 + i })
  }
  files['./set/notes.txt'] = Buffer.alloc(0)
  const file = await write('pets.tar', files)
  const dataset = await loadTar(file, { holdOut: 0.2 })
  t.deepEqual([dataset.name, dataset.classes, dataset.channels], ['pets.tar', ['cat', 'dog'], 3])
  t.deepEqual([dataset.train.length, dataset.test.length], [10, 2])
  for (const split of [dataset.train, dataset.test]) {
    for (let index = 0; index < split.length; index++) {
      const name = split.nameOf(index)
      const seed = (name.includes('/dog/') ? 10 : 0) + Number(/(\d)\.png/.exec(name)?.[1] ?? 3)
      same(t, new Uint8Array(split.pixels!(index)), noise(8 * 8 * 3, seed), name)
      t.is(split.labels[index], name.includes('/dog/') ? 1 : 0)
    }
  }
  t.regex(dataset.notices.join(), /passed over in .*pets\.tar, no images: 1 file \(.*2 of 12 images are held out/)
  await dataset.close()
})

test('both halves may be inside, or the test half beside', async (t) => {
  const inside = { ...(await classPictures('train/', ['a', 'b'], 3)), ...(await classPictures('val/', ['a', 'b'], 2)) }
  const whole = await loadTar(await write('whole.tar', inside))
  t.deepEqual([whole.train.length, whole.test.length], [6, 4])
  await whole.close()

  for (const half of ['test', 'val', 'Validation']) {
    const file = await write('train-set-train.tar', await classPictures('', ['a', 'b', 'c'], 3))
    const beside = file.replace(/train\.tar$/, `${half}.tar`)
    await writeFile(beside, await archive(await classPictures(`${half}/`, ['c', 'b'], 2)))
    const dataset = await loadTar(file)
    t.deepEqual([dataset.train.length, dataset.test.length], [9, 4])
    t.deepEqual([...dataset.test.labels], [1, 1, 2, 2])
    t.regex(dataset.test.nameOf(0), new RegExp(`train-set-${half}\\.tar/${half}/b/00\\.png$`))
    t.regex(dataset.notices.join(), new RegExp(`test images are those of .*-${half}\\.tar.*lacks the classes a`))
    await dataset.close()
  }
})

test('after closing, images that are read on demand are an error; closing twice is not', async (t) => {
  const members = await classPictures('', ['a', 'b'], 4, (i) => ({ width: 8 + i }))
  const { train, close } = await loadTar(await write('mixed.tar', members))
  t.is(train.uniform, undefined)
  t.is((await train.load(0)).pixels.length, 8 * 8 * 3)
  await Promise.all([close(), close()])
  await close()
  await t.throwsAsync(train.load(0), { code: 'DATA', message: /mixed\.tar is closed/ })
})

test('a truncated archive is named, wherever it was cut', async (t) => {
  const members = await classPictures('', ['a', 'b'], 3)
  const whole = await archive(members)
  const lastMember = whole.length - 1024
  const cuts = {
    header: 300,
    content: 700,
    'last content': lastMember - 100,
    'between members': 1024,
    'before the mark': lastMember,
  }
  for (const [where, length] of Object.entries({ ...cuts, empty: 0 })) {
    const file = join(await temporaryFolder(), 'cut.tar')
    await writeFile(file, whole.subarray(0, length))
    await t.throwsAsync(loadTar(file), { code: 'DATA', message: /Cannot read .*cut\.tar as a tar archive: / }, where)
  }
  const shorter = await write('shorter.tar', await classPictures('', ['a', 'b'], 4, (i) => ({ width: 8 + i })))
  const dataset = await loadTar(shorter)
  await truncate(shorter, 600)
  await t.throwsAsync(dataset.train.load(0), { code: 'IMAGE', message: /has become shorter/ })
  await dataset.close()
})

test('what is no tar archive is refused with a hint', async (t) => {
  const folder = await temporaryFolder()
  const good = await archive(await classPictures('', ['a', 'b'], 2))
  const flipped = Buffer.from(good)
  flipped[10]! ^= 0xff
  const cases = { 'x.tar.gz': gzipSync(good), 'x.tar': Buffer.from('rubbish'.repeat(500)), 'flipped.tar': flipped }
  for (const [name, bytes] of Object.entries(cases)) {
    await writeFile(join(folder, name), bytes)
    const error = { code: 'DATA', message: new RegExp(`${name} as a tar archive`), hint: /gunzip/ }
    checkError(t, await t.throwsAsync(loadTar(join(folder, name))), error)
  }
  await t.throwsAsync(loadTar(join(folder, 'absent.tar')), { code: 'DATA', message: /ENOENT/ })
  await t.throwsAsync(loadTar(folder), { code: 'DATA' })
  t.is((await readFile(join(folder, 'x.tar'))).length, 3500)
})

test('broken members and links count as broken images; empty classes and unknown test classes are errors', async (t) => {
  const members: Members = await classPictures('', ['a', 'b'], 5)
  const linked = await write('linked.tar', { ...members, 'a/link.png': 'link', 'b/empty.png': Buffer.alloc(0) })
  await t.throwsAsync(loadTar(linked), {
    code: 'DATA',
    message: /linked\.tar\/(a\/link\.png: it is a link|b\/empty\.png: )/,
  })
  const hollow = await write('hollow.tar', { ...members, 'c/': 'folder' })
  await t.throwsAsync(loadTar(hollow), { code: 'DATA', message: /hollow\.tar has class folders without images: c/ })
  const train = await write('train.tar', members)
  await writeFile(train.replace('train.tar', 'test.tar'), await archive(await classPictures('', ['a', 'z'], 1)))
  await t.throwsAsync(loadTar(train), { code: 'DATA', message: /test\.tar has the class z/ })
})
