import { execFileSync } from 'node:child_process'
import { chmod, cp, mkdir, symlink, truncate, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { listImageFolder, loadImageFolder } from '../../datasets/image-folder.js'
import { createLoader } from '../../lib/data/loader.js'
import { classPictures, noise, picture, temporaryFolder, writeTree } from '../data/images.js'
import { checkAbort } from '../error.js'
import { test } from '../serial.js'
import { unless } from '../unless.js'

test('two halves of small pictures of one size are held in memory', async (t) => {
  const root = await temporaryFolder()
  const files = {
    ...(await classPictures('train/', ['cat', 'dog'], 6)),
    ...(await classPictures('val/', ['cat', 'dog'], 2)),
  }
  await writeTree(root, files)
  const dataset = await loadImageFolder(root)
  t.deepEqual([dataset.classes, dataset.channels], [['cat', 'dog'], 3])
  t.deepEqual([...dataset.train.labels], [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
  t.deepEqual([...dataset.test.labels], [0, 0, 1, 1])
  t.deepEqual(dataset.train.uniform, { height: 8, width: 8 })
  t.is(dataset.test.nameOf(3), `${root}/val/dog/01.png`)
  t.deepEqual(dataset.notices, ['the test images are those in val/'])
  await dataset.close()
  await dataset.close()
})

test('without a test half a part is held out, and the user is told', async (t) => {
  const root = await temporaryFolder()
  await writeTree(root, await classPictures('', ['a', 'b', 'c'], 10))
  const dataset = await loadImageFolder(root, { holdOut: 0.2, seed: 5 })
  t.deepEqual([...new Set(dataset.test.labels)], [0, 1, 2])
  const said =
    / (\d+) of 30 images are held out for testing \(about 20% of each class, at least one, by their names and seed 5\)/
  t.is(Number(said.exec(dataset.notices[0]!)?.[1]), dataset.test.length)
  const names = (split: typeof dataset.test) => Array.from({ length: split.length }, (_, index) => split.nameOf(index))
  t.is(new Set([...names(dataset.train), ...names(dataset.test)]).size, 30)
  const again = await loadImageFolder(root, { holdOut: 0.2, seed: 5 })
  t.deepEqual(names(again.test), names(dataset.test))
  const other = await loadImageFolder(root, { holdOut: 0.2, seed: 6 })
  t.notDeepEqual(names(other.test), names(dataset.test))
  const moved = join(await temporaryFolder(), 'moved')
  await cp(root, moved, { recursive: true })
  await writeTree(moved, await classPictures('', ['d', 'b/deep'], 20))
  const grown = await loadImageFolder(moved, { holdOut: 0.2, seed: 5 })
  const wanted = [dataset.train, dataset.test].map((split) => names(split).map((name) => name.replace(root, moved)))
  t.true(
    wanted[0]!.every((name) => names(grown.train).includes(name)),
    'a training image stays one',
  )
  t.true(
    wanted[1]!.every((name) => names(grown.test).includes(name)),
    'a held-out image stays one',
  )
  for (const holdOut of [0, 1, -0.1, Number.NaN]) {
    await t.throwsAsync(loadImageFolder(root, { holdOut }), { code: 'CONFIG', message: /holdOut/ })
  }
})

test('pictures of different sizes and formats go through the loader', async (t) => {
  const root = await temporaryFolder()
  const files: Record<string, Buffer> = {}
  for (const [i, format] of (['png', 'jpeg', 'webp'] as const).entries()) {
    for (const name of ['a', 'b']) {
      files[`train/${name}/${i}.${format}`] = await picture({ format, height: 20 + i, width: 30 - i, seed: i })
      files[`test/${name}/deep/er/${i}.${format}`] = await picture({ format, height: 20 + i, width: 30 - i, seed: i })
    }
  }
  await writeTree(root, files)
  const { train, test: held } = await loadImageFolder(root)
  t.deepEqual([train.uniform, train.length, held.length], [undefined, 6, 6])
  const loader = createLoader(train, { batch: 3, seed: 0, shuffle: true })
  const seen: string[] = []
  for await (const { images, labels, indices } of loader.batches({ steps: 2, sizeOf: () => 16 })) {
    t.is(images.length, 3 * 16 * 16 * 3)
    for (const [i, index] of indices.entries()) seen.push(`${train.nameOf(index).slice(root.length)} ${labels[i]}`)
  }
  const wanted = Object.keys(files).filter((path) => path.startsWith('train'))
  t.deepEqual(seen.sort(), wanted.map((path) => `/${path} ${path.includes('/a/') ? 0 : 1}`).sort())
})

test('a broken picture is told of and replaced', async (t) => {
  const root = await temporaryFolder()
  const files = await classPictures('train/', ['a', 'b'], 5)
  files['train/a/03.png'] = Buffer.from('rubbish')
  await writeTree(root, { ...files, ...(await classPictures('val/', ['a', 'b'], 1)) })
  const refused = { code: 'DATA', message: /^1 of 10 images are broken: .*a\/03\.png: / }
  await t.throwsAsync(loadImageFolder(root, { maxBroken: 0 }), refused)
  const { train, notices } = await loadImageFolder(root)
  t.regex(notices[1]!, /^1 of 10 images are broken, others stand in: .*a\/03\.png: /)
  t.is(train.nameOf(3), `${root}/train/a/04.png`)
})

test('a file of more bytes than any image has is refused by its size, and not read', async (t) => {
  const root = await temporaryFolder()
  const files = await classPictures('', ['a', 'b'], 10)
  await writeTree(root, files)
  const vast = join(root, 'a', '03.png')
  await truncate(vast, 2 ** 30) // sparse, behind the head of a PNG
  const dataset = await listImageFolder(root, { halves: 'all' })
  const index = Object.keys(files).indexOf('a/03.png')
  t.is(dataset.test.nameOf(index), vast)
  const reason = 'it has 1,024 MiB, and at most 256 MiB are read'
  await t.throwsAsync(dataset.test.load(index), { code: 'IMAGE', message: `Cannot read the image ${vast}: ${reason}` })
})

test('links to files and folders are followed, in circles only once', async (t) => {
  const root = await temporaryFolder()
  const elsewhere = await temporaryFolder()
  await writeTree(elsewhere, await classPictures('', ['b'], 4))
  await writeTree(root, await classPictures('', ['a'], 4))
  await symlink(join(elsewhere, 'b'), join(root, 'b'))
  await symlink(join(elsewhere, 'b', '00.png'), join(root, 'a', 'linked.png'))
  const plain = await loadImageFolder(root)
  t.is(plain.train.length + plain.test.length, 9)
  await symlink(root, join(root, 'a', 'circle'))
  t.is((await loadImageFolder(root)).classes.length, 2)
  await symlink(join(root, 'nothing.png'), join(root, 'a', 'dangling.png'))
  await t.throwsAsync(loadImageFolder(root, { maxBroken: 0 }), {
    code: 'DATA',
    message: /dangling\.png: it is a link to .*nothing\.png, which/,
  })
})

test('names that are not UTF-8 are opened by their bytes', async (t) => {
  const root = await temporaryFolder()
  await writeTree(root, await classPictures('', ['a', 'b'], 2))
  const odd = (...parts: string[]) => Buffer.from(join(root, ...parts), 'latin1')
  try {
    await mkdir(odd('caf\xe9', 'deep\xff'), { recursive: true })
  } catch (error) {
    t.log(`this file system has no such names: ${error}`)
    return
  }
  const pictures: [string, number][] = [
    ['a/\xff.png', 70],
    ['a/\xfe.png', 71],
    ['caf\xe9/1.png', 72],
    ['caf\xe9/deep\xff/2.png', 73],
  ]
  for (const [path, seed] of pictures) await writeFile(odd(path), await picture({ seed, width: 9 }))
  await symlink('nowhere', odd('b/\xfd.png'))
  for (const time of ['listed', 'listed again']) {
    const { classes, train, test: held, close } = await listImageFolder(root)
    t.deepEqual(classes, ['a', 'b', 'caf\\xe9'], time)
    const found = new Map<string, Uint8Array | string>()
    for (const split of [train, held]) {
      for (let index = 0; index < split.length; index++) {
        const name = split.nameOf(index).slice(root.length + 1)
        found.set(
          name,
          await split.load(index).then(
            ({ pixels }) => new Uint8Array(pixels),
            ({ reason }) => reason,
          ),
        )
      }
      t.regex(await split.fingerprint(), /^\w{32}$/)
    }
    t.is(found.size, 9)
    for (const [path, seed] of pictures) {
      const name = path.replace(/[\x80-\xff]/g, (each) => `\\x${each.charCodeAt(0).toString(16)}`)
      t.deepEqual(found.get(name), noise(8 * 9 * 3, seed), name)
    }
    t.is(found.get('b/\\xfd.png'), 'it is a link to nowhere, which is not there')
    await close()
  }
})

test('a folder that cannot be used is an error that says why', async (t) => {
  const root = await temporaryFolder()
  const absent = join(root, 'absent')
  await t.throwsAsync(loadImageFolder(absent), { code: 'DATA', message: /Cannot read the folder .*absent: ENOENT/ })
  await mkdir(join(root, 'empty'))
  await t.throwsAsync(loadImageFolder(join(root, 'empty')), { code: 'DATA', message: /empty holds no images/ })
  await writeTree(root, await classPictures('half/', ['a', 'b'], 1))
  await t.throwsAsync(loadImageFolder(join(root, 'half')), { code: 'DATA', message: /too few images/ })
  await mkdir(join(root, 'half', 'c'))
  await t.throwsAsync(loadImageFolder(join(root, 'half')), {
    code: 'DATA',
    message: /class folders without images: c/,
  })
})

test('links to nowhere and pipes are named, as broken images where they are called so', async (t) => {
  t.timeout(60_000)

  const root = await temporaryFolder()
  await writeTree(root, await classPictures('', ['a', 'b'], 4))
  await symlink('gone', join(root, 'c'))
  await symlink('.loop', join(root, '.loop'))
  await symlink('loop', join(root, 'a', 'loop'))
  await symlink('gone.jpg', join(root, 'b', 'lost.jpg'))
  execFileSync('mkfifo', [join(root, 'b', 'pipe.jpg')])
  const { train, test: held, faults, notices } = await listImageFolder(root)
  t.deepEqual(faults!.map(({ name, fault }) => [name, fault]).sort(), [
    [join(root, 'a', 'loop'), 'link'],
    [join(root, 'c'), 'link'],
  ])
  t.regex(notices[0]!, /was not listed whole: .*c: it is a link to gone, which is not there/)
  t.is(train.length + held.length, 10)
  const broken: string[] = []
  for (const split of [train, held]) {
    for (let index = 0; index < split.length; index++) {
      await split.load(index).catch((error) => broken.push(`${basename(split.nameOf(index))} ${error.reason}`))
    }
  }
  t.deepEqual(broken.sort(), [
    'lost.jpg it is a link to gone.jpg, which is not there',
    'pipe.jpg it is neither a file nor a folder',
  ])
})

/** Runs `work` as somebody who may not read everything, as the superuser may. */
async function withoutPrivileges(work: () => Promise<void>): Promise<void> {
  const superuser = process.geteuid?.() === 0
  if (superuser) process.seteuid?.(65534)
  try {
    await work()
  } finally {
    if (superuser) process.seteuid?.(0)
  }
}

unless(!process.seteuid)('a class that may not be read is an error, a folder within a class a notice', async (t) => {
  const root = await temporaryFolder()
  await chmod(root, 0o755)
  const inner = join(root, 'a', 'inner')
  await writeTree(root, { ...(await classPictures('', ['a', 'b'], 3)), 'a/inner/x.png': await picture() })
  await chmod(inner, 0)
  await withoutPrivileges(async () => {
    const { train, test: held, faults, notices } = await loadImageFolder(root)
    t.is(train.length + held.length, 6)
    t.deepEqual([faults!.length, faults![0]!.name, faults![0]!.fault], [1, inner, 'unreadable'])
    t.regex(notices[0]!, /was not listed whole: a\/inner: the folder cannot be read: EACCES/)
  })
  await chmod(join(root, 'b'), 0)
  await withoutPrivileges(async () => {
    const message = /class folders without images: b; .*b: the folder cannot be read: EACCES/
    await t.throwsAsync(loadImageFolder(root), { code: 'DATA', message })
  })
  await chmod(root, 0)
  await withoutPrivileges(async () => {
    await t.throwsAsync(loadImageFolder(root), { code: 'DATA', message: /^Cannot read the folder .*: EACCES/ })
  })
  for (const path of [root, join(root, 'b'), inner]) await chmod(path, 0o755)
})

test('an abort ends the loading', async (t) => {
  const root = await temporaryFolder()
  await writeTree(root, await classPictures('', ['a', 'b'], 3))
  await checkAbort(t, loadImageFolder(root, { signal: AbortSignal.abort() }))
})
