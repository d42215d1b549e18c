import { cp, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { listDataset, loadDataset } from '../../../datasets/index.js'
import { identify, listingFingerprint } from '../../../lib/data/source/fingerprint.js'
import { inMemorySplit } from '../../../lib/data/source/in-memory.js'
import { packDataset } from '../../../lib/data/source/packing.js'
import { writeTar } from '../../datasets/archives.js'
import { test } from '../../serial.js'
import { classPictures, noise, picture, temporaryFolder, writeTree } from '../images.js'

async function identity(path: string) {
  const dataset = await listDataset(path)
  try {
    return await identify(dataset)
  } finally {
    await dataset.close()
  }
}

async function pictures() {
  return {
    ...(await classPictures('train/', ['cat', 'dog'], 4, (i) => ({ height: 8 + i }))),
    ...(await classPictures('val/', ['cat', 'dog'], 2)),
  }
}

test('a folder keeps its identity when it is moved, and loses it with any change of names, sizes or classes', async (t) => {
  const root = await temporaryFolder()
  const [photos, moved] = [join(root, 'photos'), join(root, 'moved', 'elsewhere')]
  await writeTree(photos, await pictures())
  const before = await identity(photos)
  t.deepEqual([before.classes, before.train.images, before.test.images], [['cat', 'dog'], 8, 4])
  t.regex(before.train.fingerprint, /^[0-9a-f]{32}$/)
  t.deepEqual(JSON.parse(JSON.stringify(before)), before)
  await cp(photos, moved, { recursive: true })
  t.deepEqual(await identity(moved), before)
  const decoded = await loadDataset(photos)
  t.not(decoded.test.uniform, undefined)
  t.deepEqual(await identify(decoded), before, 'whether images are held in memory does not matter')

  const changes: Record<string, () => Promise<void>> = {
    added: async () => writeFile(join(moved, 'train', 'cat', 'new.png'), await picture()),
    removed: () => rm(join(moved, 'train', 'cat', '00.png')),
    renamed: () => rename(join(moved, 'train', 'cat', '00.png'), join(moved, 'train', 'cat', '0.png')),
    replaced: async () => writeFile(join(moved, 'train', 'cat', '00.png'), await picture({ width: 20 })),
    relabelled: () => rename(join(moved, 'train', 'cat', '03.png'), join(moved, 'train', 'dog', '04.png')),
  }
  for (const [name, change] of Object.entries(changes)) {
    await rm(moved, { recursive: true })
    await cp(photos, moved, { recursive: true })
    await change()
    const after = await identity(moved)
    t.not(after.train.fingerprint, before.train.fingerprint, name)
    t.is(after.test.fingerprint, before.test.fingerprint, name)
  }
})

test('archives and packs are known by what they hold, wherever they lie', async (t) => {
  const root = await temporaryFolder()
  const files = await pictures()
  await writeTree(join(root, 'photos'), files)
  const dataset = await loadDataset(join(root, 'photos'))
  const variants = { same: files, other: { ...files, 'train/cat/00.png': await picture({ seed: 99, width: 9 }) } }
  for (const [name, members] of Object.entries(variants)) {
    await writeTar(join(root, `${name}.tar`), members)
    await writeTree(join(root, name), members)
    const source = await loadDataset(join(root, name))
    await packDataset(source, join(root, `${name}.pack`))
  }
  await packDataset(dataset, join(root, 'photos.pack'))
  for (const ending of ['tar', 'pack']) {
    const of = (name: string) => identity(join(root, `${name}.${ending}`))
    const same = await of('same')
    t.not((await of('other')).train.fingerprint, same.train.fingerprint)
    t.is((await of('other')).test.fingerprint, same.test.fingerprint)
    await rename(join(root, `same.${ending}`), join(root, `moved.${ending}`))
    t.deepEqual(await of('moved'), same)
  }
  t.deepEqual(await identity(join(root, 'photos.pack')), await identity(join(root, 'moved.pack')))
})

test('images in memory are known by their labels, shape and pixels', async (t) => {
  const of = (pixels: Uint8Array, labels: number[], height: number) =>
    inMemorySplit({
      ...{ pixels, labels: Int32Array.from(labels), height, width: 32 / height, channels: 1, nameOf: String },
    }).fingerprint()
  const known = await of(noise(64), [0, 1], 4)
  t.is(await of(noise(64), [0, 1], 4), known)
  for (const other of [of(noise(64, 1), [0, 1], 4), of(noise(64), [1, 1], 4), of(noise(64), [0, 1], 8)]) {
    t.not(await other, known)
  }
})

test('composed and decomposed names are the same, and a size that cannot be had is none', async (t) => {
  const of = (path: string, sizeOf: (index: number) => number | Promise<number> = () => 7) =>
    listingFingerprint({ paths: [path], labels: Int32Array.of(0), sizeOf })
  const composed = 'Ping\u00fcino/1.png'
  t.is(await of(composed.normalize('NFD')), await of(composed.normalize('NFC')))
  const unknown = await of(composed, () => Promise.reject(new Error('gone')))
  t.not(unknown, await of(composed))
})
