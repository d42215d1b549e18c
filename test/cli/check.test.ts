/** `autoprog check` on real files, some of them broken on purpose. */

import { spawnSync } from 'node:child_process'
import { chmod, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import sharp from 'sharp'
import { pack } from 'tar-stream'
import { classPictures, picture, temporaryFolder, vastPng, writeTree } from '../data/images.js'
import { different, same } from '../same.js'
import { test } from '../serial.js'
import { unless } from '../unless.js'

const folder = await temporaryFolder()

function autoprog(...flags: string[]) {
  const loader = fileURLToPath(import.meta.resolve('tsx'))
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', loader, resolve('lib/cli/main.ts'), ...flags],
    { cwd: folder, encoding: 'utf8', timeout: 120_000 },
  )
  return { status, stdout, stderr }
}

interface Report {
  images: number
  classes: { name: string; train: number; test: number; broken: number }[]
  broken: { name: string; fault: string; reason: string }[]
  refused: boolean
  sizes: { smallest: object; median: object; largest: object; distinct: number; extreme: { name: string }[] } | null
  notices: string[]
  sheet: string | null
}

function report(t: ExecutionContext, ...flags: string[]): { status: number | null; found: Report } {
  const { status, stdout, stderr } = autoprog('check', ...flags, '--json')
  t.not(stdout, '', stderr)
  return { status, found: JSON.parse(stdout) as Report }
}

/** Good pictures in two halves, of 20 x 20 to 20 x 25 pixels. */
const good = async () => ({
  ...(await classPictures('train/', ['cat', 'dog'], 6, (i) => ({ width: 20 + i, height: 20 }))),
  ...(await classPictures('val/', ['cat', 'dog'], 2, (i) => ({ width: 20 + i, height: 20 }))),
})

test('planted faults are found by name and kind, and nothing else is', async (t) => {
  const jpeg = await picture({ format: 'jpeg', width: 64, height: 64 })
  await writeTree(join(folder, 'faulty'), {
    ...(await good()),
    'train/cat/truncated.jpg': jpeg.subarray(0, jpeg.length / 2),
    'train/cat/empty.jpg': '',
    'train/dog/text.jpg': 'not a picture at all',
    'train/dog/vast.png': vastPng(30_000),
    'train/dog/tiny.png': await picture({ width: 1, height: 1 }),
    'train/dog/strip.png': await picture({ width: 110, height: 10 }),
    'val/cat/empty.png': '',
    'train/notes.txt': '',
    'train/loose.png': await picture(),
  })
  await symlink('gone.jpg', join(folder, 'faulty', 'train', 'cat', 'lost.jpg'))
  await symlink('gone', join(folder, 'faulty', 'train', 'cat', 'lost'))
  const { status, found } = report(t, 'faulty')
  t.is(status, 1)
  t.deepEqual(
    found.broken.map(({ name, fault }) => [name, fault]),
    [
      ['faulty/train/cat/lost', 'link'],
      ['faulty/train/cat/empty.jpg', 'empty'],
      ['faulty/train/cat/lost.jpg', 'link'],
      ['faulty/train/cat/truncated.jpg', 'damaged'],
      ['faulty/train/dog/text.jpg', 'format'],
      ['faulty/train/dog/vast.png', 'large'],
      ['faulty/val/cat/empty.png', 'empty'],
    ],
  )
  t.deepEqual(found.classes, [
    { name: 'cat', train: 9, test: 3, broken: 4 },
    { name: 'dog', train: 10, test: 2, broken: 2 },
  ])
  t.deepEqual([found.images, found.refused, found.sheet], [24, true, null])
  const size = (width: number, height: number, name: string) => ({ name: `faulty/${name}`, width, height })
  t.deepEqual(found.sizes!.smallest, size(1, 1, 'train/dog/tiny.png'))
  t.deepEqual(found.sizes!.largest, size(110, 10, 'train/dog/strip.png'))
  t.deepEqual([found.sizes!.distinct, found.sizes!.extreme.length], [8, 1])
  t.regex(found.notices.join('\n'), /, no images: 1 file \(train\/notes\.txt\)/)
  t.regex(found.notices.join('\n'), /in faulty\/train, in no class folder: 1 image \(train\/loose\.png\)/)
})

test('the text lists each broken file under the kind of its fault', (t) => {
  const { status, stdout } = autoprog('check', 'faulty')
  t.is(status, 1)
  t.regex(stdout, /^faulty: 19 training images, 5 held out, 2 classes$/m)
  t.regex(stdout, /^zero bytes \(2\):\n {2}faulty\/train\/cat\/empty\.jpg: .*\n {2}faulty\/val\/cat\/empty\.png: /m)
  t.regex(stdout, /^truncated or damaged \(1\):\n {2}faulty\/train\/cat\/truncated\.jpg: .*premature end/m)
  t.regex(stdout, /^too large \(1\):\n {2}faulty\/train\/dog\/vast\.png: .*at most 178,956,970 in all are read$/m)
  t.regex(stdout, /^links that lead nowhere \(2\):\n.*cat\/lost: it is a link to gone, which is not there$/m)
  t.regex(stdout, /^sizes: smallest 1 x 1, median 22 x 20, largest 110 x 10; 8 different ones$/m)
  t.regex(stdout, /7 broken; training would refuse: too many of a half\n$/)
})

test('a good set exits 0 and says of which classes and sizes it is', async (t) => {
  await writeTree(join(folder, 'good'), await good())
  const { status, stdout, stderr } = autoprog('check', 'good')
  t.deepEqual([status, stderr], [0, ''])
  t.regex(stdout, /│ cat +│ +6 │ +2 │ +0 │/)
  t.regex(stdout, /all 16 images are good\n$/)
  await writeTree(join(folder, 'alike'), await classPictures('', ['Cat', 'cat', 'dog'], 5))
  const { found, ...alike } = report(t, 'alike')
  t.is(alike.status, 0)
  t.regex(found.notices[0]!, /the classes "Cat" and "cat" differ only in case or spaces/)
  t.is(found.sizes!.distinct, 1)
})

test('what training refuses is refused alike, by its name', async (t) => {
  await writeTree(join(folder, 'unknown'), { ...(await good()), 'val/cow/1.png': await picture() })
  const unknown = autoprog('check', 'unknown')
  t.is(unknown.status, 1)
  t.regex(unknown.stderr, /error DATA: unknown\/val has the class cow, which the training half has not\nhint: /)
  t.regex(autoprog('check', 'nowhere').stderr, /error DATA: There is no dataset and no file named nowhere/)
})

test('an archive is checked in place; one that is cut off is named', async (t) => {
  const packing = pack()
  const members = { ...(await good()), 'train/cat/empty.png': Buffer.alloc(0), 'train/dog/text.jpg': Buffer.from('no') }
  for (const [name, content] of Object.entries(members)) packing.entry({ name }, content)
  packing.entry({ name: 'train/dog/link.png', type: 'symlink', linkname: '00.png' })
  packing.finalize()
  const bytes = await buffer(packing as unknown as AsyncIterable<Buffer>)
  await writeFile(join(folder, 'pets.tar'), bytes)
  const { status, found } = report(t, 'pets.tar')
  t.deepEqual(
    [status, ...found.broken.map(({ name, fault }) => `${name} ${fault}`)],
    [1, 'pets.tar/train/cat/empty.png empty', 'pets.tar/train/dog/link.png link', 'pets.tar/train/dog/text.jpg format'],
  )
  await truncate(join(folder, 'pets.tar'), bytes.length / 2)
  const cut = autoprog('check', 'pets.tar', '--json')
  t.is(cut.status, 1)
  t.regex(cut.stderr, /error DATA: Cannot read pets\.tar as a tar archive: /)
  t.is((JSON.parse(cut.stdout) as { error: { code: string } }).error.code, 'DATA')
})

const superuser = process.geteuid?.() === 0 && 'the superuser may read everything'
unless(superuser)('a folder without permission is named, and the rest is checked', async (t) => {
  await writeTree(join(folder, 'shut'), { ...(await good()), 'train/cat/inner/x.png': await picture() })
  await chmod(join(folder, 'shut/train/cat/inner'), 0)
  const { status, found } = report(t, 'shut')
  await chmod(join(folder, 'shut/train/cat/inner'), 0o755)
  t.deepEqual([status, found.images], [1, 16])
  t.deepEqual(
    found.broken.map(({ name, fault }) => [name, fault]),
    [['shut/train/cat/inner', 'unreadable']],
  )
})

test('the sheet has a row for each of eight images, at the size that training uses', async (t) => {
  const read = async () => {
    const { width, height } = await sharp(join(folder, 'sheet.png')).metadata()
    const bytes = await readFile(join(folder, 'sheet.png'))
    await rm(join(folder, 'sheet.png'))
    return { width, height, bytes }
  }
  const { status, found } = report(t, 'faulty', '--sheet', 'sheet.png')
  t.deepEqual([status, found.sheet], [1, 'sheet.png'])
  const photos = await read()
  t.true(photos.width! > 7 * 224 && photos.height! > 8 * 224, 'photographs at 224 pixels')
  report(t, 'alike', '--sheet', 'sheet.png')
  const small = await read()
  t.true(small.width! > 7 * 128 && small.width! < 7 * 150, 'small squares at their own size, enlarged')
  report(t, 'alike', '--sheet', 'sheet.png')
  same(t, (await read()).bytes, small.bytes)
  for (const flags of [
    ['--seed', '1'],
    ['--set', 'augmentation.randAugment=null'],
  ]) {
    report(t, 'alike', '--sheet', 'sheet.png', ...flags)
    different(t, (await read()).bytes, small.bytes)
  }
  report(t, 'mnist', '--recipe', 'mnist', '--sheet', 'sheet.png')
  const grey = await read()
  t.true(grey.width! > 7 * 112 && grey.width! < 7 * 150)
  const absent = autoprog('check', 'alike', '--sheet', 'absent/sheet.png')
  t.is(absent.status, 1)
  t.regex(absent.stderr, /error CONFIG: Cannot write the sheet absent\/sheet\.png: ENOENT/)
})
