import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import type { ExecutionContext } from 'ava'
import { pack } from 'tar-stream'
import { loadDataset } from '../../datasets/index.js'
import { expandBraces } from '../../datasets/shards.js'
import type { Split } from '../../lib/data/source/dataset.js'
import { noise, picture, temporaryFolder } from '../data/images.js'
import { checkError } from '../error.js'
import { same } from '../same.js'
import { test } from '../serial.js'
import { type Members, writeTar } from './archives.js'

/** Images of WebDataset: the label of key k is (k * 7) mod 3, its pixels are noise of seed k. */
async function pairs(keys: readonly number[], ending = 'png'): Promise<Members> {
  const members: Members = {}
  for (const key of keys) {
    members[`${key}.${ending}`] = await picture({ seed: key })
    members[`${key}.cls`] = `${(key * 7) % 3}\n`
    members[`${key}.json`] = '{}'
  }
  return members
}

async function writeShards(shards: Record<string, Members>): Promise<string> {
  const folder = await temporaryFolder()
  for (const [name, members] of Object.entries(shards)) await writeTar(join(folder, name), members)
  return folder
}

/** Every image's key, checked against its pixels and its label. */
function keysOf(t: ExecutionContext, split: Split): number[] {
  return Array.from({ length: split.length }, (_, index) => {
    const key = Number(/(\d+)\.[a-z.]+$/.exec(split.nameOf(index))![1])
    same(t, split.pixels!(index).slice(), noise(8 * 8 * 3, key), split.nameOf(index))
    t.is(split.labels[index], (key * 7) % 3)
    return key
  })
}

test('braces stand for ranges and lists, as in bash', (t) => {
  t.deepEqual(expandBraces('a-{08..11}.tar'), ['a-08.tar', 'a-09.tar', 'a-10.tar', 'a-11.tar'])
  t.deepEqual(expandBraces('{a,b}-{0..1}.tar'), ['a-0.tar', 'a-1.tar', 'b-0.tar', 'b-1.tar'])
  t.deepEqual([expandBraces('plain.tar'), expandBraces('{odd}.tar')], [['plain.tar'], ['{odd}.tar']])
  t.deepEqual(expandBraces('x-{3..1}.tar'), [])
  for (const vast of ['x-{0..999999999999}.tar', `${'{1..9}'.repeat(60)}.tar`, `{0..${'9'.repeat(400)}}.tar`]) {
    const error = t.throws(() => expandBraces(vast))
    checkError(t, error, { code: 'DATA', message: /stands for more than 100,000 names/, hint: /fewer archives/ })
  }
})

test('archives of pairs are read from a folder, or by a pattern', async (t) => {
  const folder = await writeShards({
    'train-000.tar': await pairs([1, 2, 3, 4]),
    'train-001.tar': { ...(await pairs([5, 6], 'center.png')), 'alone.png': await picture() },
    'train-002.tar': await pairs([7, 8, 1]),
    'val-000.tar': await pairs([11, 12]),
  })
  for (const [data, keys] of [
    [folder, [1, 2, 3, 4, 5, 6, 1, 7, 8]],
    [join(folder, 'train-{000..002}.tar'), [1, 2, 3, 4, 5, 6, 1, 7, 8]],
    [join(folder, 'train-{000,002}.tar'), [1, 2, 3, 4, 1, 7, 8]],
  ] as const) {
    const { classes, train, test: held, notices, close } = await loadDataset(data)
    t.deepEqual(classes, ['0', '1', '2'])
    t.deepEqual([keysOf(t, train), keysOf(t, held)], [keys, [11, 12]])
    t.is(train.nameOf(0), join(folder, 'train-000.tar', '1.png'))
    t.regex(notices.join('\n'), /the test images are those of .*val-000\.tar/)
    t.is(/without a \.cls file: 1 image \(/.test(notices.join()), !data.includes(','))
    await close()
    await close()
  }
})

test('one archive of pairs will do; a share is then held out; names of classes may lie beside', async (t) => {
  const folder = await writeShards({ 'all.tar': await pairs([...Array(12).keys()]) })
  const one = await loadDataset(join(folder, 'all.tar'))
  t.deepEqual([...new Set(one.test.labels)].sort(), [0, 1, 2])
  t.deepEqual(
    [...keysOf(t, one.train), ...keysOf(t, one.test)].sort((a, b) => a - b),
    [...Array(12).keys()],
  )
  t.regex(one.notices.join(), /\d of 12 images are held out/)
  await one.close()
  await writeFile(join(folder, 'classes.txt'), 'zebra\nape\r\ncow\nunseen\n')
  const named = await loadDataset(folder)
  t.deepEqual(named.classes, ['zebra', 'ape', 'cow', 'unseen'])
  await named.close()
  await writeFile(join(folder, 'classes.txt'), 'zebra\nape\n')
  const tooFew = {
    code: 'DATA',
    message: /all\.tar\/\d+\.cls holds the class index 2, and classes\.txt names 2 classes/,
  }
  await t.throwsAsync(loadDataset(folder), tooFew)
})

test('archives of class folders are joined, members of the same name kept apart', async (t) => {
  const seeds = (first: number) => async () => ({
    'cat/0.png': await picture({ seed: first }),
    'dog/0.png': await picture({ seed: first + 1 }),
  })
  const folder = await writeShards({
    'pets_train_0.tar': await seeds(0)(),
    'pets_train_1.tar': await seeds(2)(),
    'pets_test_0.tar': await seeds(4)(),
    'pets_extra.tar': await seeds(6)(),
  })
  const { classes, train, test: held, close } = await loadDataset(folder)
  t.deepEqual(
    [classes, [...train.labels], [...held.labels]],
    [
      ['cat', 'dog'],
      [0, 0, 1, 1],
      [0, 1],
    ],
  )
  const shown = Array.from({ length: 4 }, (_, index) => train.pixels!(index).slice())
  same(
    t,
    shown,
    [0, 2, 1, 3].map((seed) => noise(8 * 8 * 3, seed)),
  )
  t.is(train.nameOf(1), join(folder, 'pets_train_1.tar', 'cat', '0.png'))
  await close()
})

test('a missing or truncated archive, or a label that is none, is named', async (t) => {
  const make = async () =>
    writeShards({
      'train-0.tar': await pairs([1, 2, 3]),
      'train-1.tar': await pairs([4, 5, 6]),
      'val-0.tar': await pairs([7]),
    })
  const cut = await make()
  const file = join(cut, 'train-1.tar')
  await writeFile(file, (await readFile(file)).subarray(0, 2000))
  await t.throwsAsync(loadDataset(cut), { code: 'DATA', message: /Cannot read .*train-1\.tar as a tar archive/ })
  await rm(file)
  const pattern = join(cut, 'train-{0..1}.tar')
  await t.throwsAsync(loadDataset(pattern), { code: 'DATA', message: /Cannot read .*train-1\.tar .*ENOENT/ })
  const wrong = { ...(await pairs([1, 2])), '9.cls': 'cat' }
  const named = await writeShards({ 'train-0.tar': await pairs([3, 4]), 'train-1.tar': wrong })
  await t.throwsAsync(loadDataset(named), {
    code: 'DATA',
    message: /train-1\.tar\/9\.cls holds "cat" \(string\) where the index of a class is due/,
  })
  const unlabelled = await writeShards({
    'train-0.tar': await pairs([1, 2]),
    'val-0.tar': { '3.png': await picture() },
  })
  await t.throwsAsync(loadDataset(unlabelled), {
    code: 'DATA',
    message: /val-0\.tar holds no images with a \.cls file/,
  })
  const alone = await writeShards({ 'val-0.tar': await pairs([1, 2]) })
  await t.throwsAsync(loadDataset(alone), { code: 'DATA', message: /holds archives of val but none for training/ })
  const tested = await loadDataset(alone, { halves: 'all' })
  t.deepEqual([tested.train.length, keysOf(t, tested.test)], [0, [1, 2]])
  await tested.close()
  await t.throwsAsync(loadDataset(join(alone, 'val-{3..1}.tar')), { code: 'DATA', message: /no dataset and no file/ })
})

/** An archive of one picture of each name, and of labels. */
async function labelled(pictures: readonly string[], labels: Record<string, string>): Promise<string> {
  const members: Members = {}
  for (const [seed, name] of pictures.entries()) members[name] = await picture({ seed })
  const file = join(await temporaryFolder(), 'samples.tar')
  await writeTar(file, { ...members, ...labels })
  return file
}

/** The class of every image that has a label, by the image's name. */
async function labelsOf(file: string): Promise<{ labels: Record<string, string>; notices: string }> {
  const { test: all, classes, notices, close } = await loadDataset(file, { halves: 'all' })
  const names = Array.from({ length: all.length }, (_, index) => all.nameOf(index).slice(file.length + 1))
  await close()
  return {
    labels: Object.fromEntries(names.map((name, index) => [name, classes[all.labels[index]!]!])),
    notices: notices.join('\n'),
  }
}

test('a label is that of its own sample, whatever dots the names have', async (t) => {
  const dotted = await labelled(['IMG.0000.jpg', 'IMG.0001.jpg', 'IMG.0001.left.jpg', 'IMG.0002.jpg'], {
    'IMG.0000.cls': '0',
    'IMG.0001.cls': '1',
  })
  const { labels, notices } = await labelsOf(dotted)
  t.deepEqual(labels, { 'IMG.0000.jpg': '0', 'IMG.0001.jpg': '1', 'IMG.0001.left.jpg': '1' })
  t.regex(notices, /^passed over in .*samples\.tar, without a \.cls file: 1 image \(IMG\.0002\.jpg\)$/m)
  const first = await labelled(['a/1.left.jpg', 'a/1.right.jpg', 'b.c/1.jpg', '2.jpg'], {
    'a/1.cls': '0',
    'b.c/1.cls': '1',
    '2.label.cls': '2',
  })
  t.deepEqual((await labelsOf(first)).labels, {
    'a/1.left.jpg': '0',
    'a/1.right.jpg': '0',
    'b.c/1.jpg': '1',
    '2.jpg': '2',
  })
  const both = await labelled(['k.jpg'], { 'k.a.cls': '0', 'k.b.cls': '1' })
  checkError(t, await t.throwsAsync(loadDataset(both)), {
    code: 'DATA',
    message: /samples\.tar\/k\.jpg has the labels of k\.a\.cls, k\.b\.cls/,
    hint: /a key of its own/,
  })
})

test('a key that comes twice in an archive is refused and named', async (t) => {
  const packing = pack()
  for (const [name, content] of [
    ['1.png', await picture()],
    ['1.cls', '0'],
    ['2.png', await picture({ seed: 1 })],
    ['2.cls', '1'],
    ['1.png', await picture({ seed: 2 })],
    ['1.cls', '1'],
  ] as const) {
    packing.entry({ name }, Buffer.from(content as string))
  }
  packing.finalize()
  const file = join(await temporaryFolder(), 'twice.tar')
  await writeFile(file, await buffer(packing as unknown as AsyncIterable<Buffer>))
  const error = await t.throwsAsync(loadDataset(file))
  checkError(t, error, { code: 'DATA', message: /twice\.tar holds 1\.png, 1\.cls more than once/ })
})

test('labels are bounded, and classes that no image has are told of', async (t) => {
  for (const wrong of ['999999999', '99999999', '100000', '9999999999', '-1', '1.5', '']) {
    const file = await labelled(['1.png', '2.png'], { '1.cls': '0', '2.cls': wrong })
    checkError(t, await t.throwsAsync(loadDataset(file)), { code: 'DATA', message: /samples\.tar\/2\.cls holds/ })
  }
  const gaps = await labelled(['1.png', '2.png', '3.png'], { '1.cls': '1', '2.cls': '4\n', '3.cls': ' 4 ' })
  t.regex((await labelsOf(gaps)).notices, /^3 of 5 classes have no image: 0, 2, 3$/m)
  const names = join(gaps, '..', 'classes.txt')
  await writeFile(names, '\ufeffu\u0308ber\r\n b\nc\n\nd\ne')
  t.deepEqual((await labelsOf(gaps)).labels, { '1.png': 'b', '2.png': 'e', '3.png': 'e' })
  const { classes, close } = await loadDataset(gaps, { halves: 'all' })
  t.is(classes[0], '\u00fcber')
  await close()
  await writeFile(names, 'a\nb\na\nc\nd')
  await t.throwsAsync(loadDataset(gaps), { code: 'DATA', message: /classes\.txt names the class a twice/ })
  await rm(names)
  await mkdir(names)
  await t.throwsAsync(loadDataset(gaps), { code: 'DATA', message: /Cannot read .*classes\.txt: it is a folder/ })
})

test('labels in other files are named as what is not read', async (t) => {
  const json = await labelled(['1.png', '2.png'], {
    '1.json': '{"label": 0}',
    '2.json': '{"label": 1}',
    'README.txt': '',
  })
  checkError(t, await t.throwsAsync(loadDataset(json)), {
    code: 'DATA',
    message: /samples of .*samples\.tar have \.json but no \.cls, and labels are read from \.cls alone/,
    hint: /key\.cls/,
  })
  const folders = await labelled(['a/1.png', 'b/2.png'], { 'a/1.json': '{}' })
  t.deepEqual((await labelsOf(folders)).labels, { 'a/1.png': 'a', 'b/2.png': 'b' })
})
