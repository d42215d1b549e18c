import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, mkdir, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { gunzipSync, gzipSync } from 'node:zlib'
import { loadImageFolder } from '../../datasets/image-folder.js'
import { loadDataset } from '../../datasets/index.js'
import { cachedScan } from '../../datasets/scan-cache.js'
import { loadTar } from '../../datasets/tar.js'
import { classPictures, picture, temporaryFolder, writeTree } from '../data/images.js'
import { test } from '../serial.js'
import { unless } from '../unless.js'
import { type Members, writeTar } from './archives.js'

const withPipes = unless(process.platform === 'win32' && 'folders hold no pipes')

const given = process.env.AUTOPROG_CACHE
let cache: string
test.beforeEach(async () => {
  cache = join(await temporaryFolder(), 'cache')
  process.env.AUTOPROG_CACHE = cache
})
test.afterEach.always(() => {
  process.env.AUTOPROG_CACHE = given
})

/** Only what has not changed for two seconds is kept. */
const settle = () => setTimeout(2100)

/** Loads, and says whether the files had to be listed. */
async function listing(load: typeof loadImageFolder, path: string): Promise<{ listed: boolean; names: string[] }> {
  let listed = false
  const { train, close } = await load(path, { onListing: () => (listed = true), maxBroken: 1 })
  const names = Array.from({ length: train.length }, (_, index) => train.nameOf(index).slice(path.length + 1))
  await close()
  return { listed, names }
}

test('a folder is listed once, and again after any change', async (t) => {
  const root = await temporaryFolder()
  const elsewhere = await temporaryFolder()
  await writeTree(root, {
    ...(await classPictures('train/', ['a', 'b'], 2)),
    ...(await classPictures('val/', ['a'], 1)),
  })
  await writeTree(elsewhere, await classPictures('', ['deep'], 1))
  await symlink(elsewhere, join(root, 'train', 'a', 'linked'))
  t.is((await listing(loadImageFolder, root)).listed, true)
  t.is((await listing(loadImageFolder, root)).listed, true, 'too fresh to be kept')
  await settle()
  const first = await listing(loadImageFolder, root)
  t.is(first.listed, true)
  t.deepEqual(await listing(loadImageFolder, root), { listed: false, names: first.names })
  t.deepEqual(first.names.slice(0, 3), ['train/a/00.png', 'train/a/01.png', 'train/a/linked/deep/00.png'])

  await writeTree(elsewhere, { 'deep/new.png': await picture() })
  await utimes(join(elsewhere, 'deep'), 1, 1) // as unpacking an archive may set it
  const changed = await listing(loadImageFolder, root)
  t.is(changed.listed, true)
  t.true(changed.names.includes('train/a/linked/deep/new.png'))
  await rm(join(root, 'train', 'b', '01.png'))
  const { listed, names } = await listing(loadImageFolder, root)
  t.deepEqual([listed, names.filter((name) => name.includes('/b/'))], [true, ['train/b/00.png']])
})

test('a folder with a link that leads nowhere is listed each time, for it may lead somewhere', async (t) => {
  const root = await temporaryFolder()
  await writeTree(root, await classPictures('', ['a', 'b'], 3))
  await symlink(join(root, 'absent'), join(root, 'a', 'x.png'))
  await settle()
  for (const _ of [1, 2]) t.is((await listing(loadImageFolder, root)).listed, true)
  t.deepEqual(await readdir(cache).catch(() => []), [])
})

test('an archive is indexed once, and again when it has changed', async (t) => {
  const members = await classPictures('', ['a', 'b'], 3)
  const file = join(await temporaryFolder(), 'x.tar')
  await writeTar(file, members)
  await settle()
  // Fewer members than it takes to be told of progress: what is kept shows in the folder alone.
  const first = await listing(loadTar, file)
  t.is((await readdir(cache)).length, 1)
  t.deepEqual(await listing(loadTar, file), first)
  await writeTar(file, { 'c/00.png': await picture(), ...members })
  const { train, classes, close } = await loadTar(file)
  t.deepEqual([classes, train.length], [['a', 'b', 'c'], 5])
  await close()
})

test('a damaged cache is passed over and written anew; one that cannot be written is no error', async (t) => {
  const source = await temporaryFolder()
  let scans = 0
  const scan = async () => ({ scans: ++scans })
  const isFound = (kept: unknown): kept is { scans: number } => typeof (kept as { scans?: unknown }).scans === 'number'
  const cached = () => cachedScan({ path: source, scan, sourcesOf: () => [source], isFound })
  await settle()
  t.deepEqual([await cached(), await cached()], [{ scans: 1 }, { scans: 1 }])
  const [name] = await readdir(cache)
  const file = join(cache, name!)
  const good = await readFile(file)
  const flipped = Buffer.from(good)
  flipped[good.length - 10]! ^= 1
  for (const [i, bytes] of [flipped, good.subarray(0, 20), Buffer.from('rubbish'), Buffer.alloc(0)].entries()) {
    await writeFile(file, bytes)
    t.deepEqual([await cached(), await cached()], [{ scans: i + 2 }, { scans: i + 2 }])
    t.deepEqual(await readdir(cache), [name])
  }
  await rm(cache, { recursive: true })
  await writeFile(cache, 'a file where the folder should be')
  t.deepEqual([await cached(), await cached()], [{ scans: 6 }, { scans: 7 }])
  process.env.AUTOPROG_CACHE = ''
  t.deepEqual(await cached(), { scans: 8 })
})

test('a kept scan that was altered is scanned anew', async (t) => {
  const root = await temporaryFolder()
  const file = join(root, 'x.tar')
  const pairs: Members = {}
  for (const key of [1, 2, 3, 4]) {
    pairs[`${key}.png`] = await picture({ seed: key })
    pairs[`${key}.cls`] = `${key % 2}`
  }
  await writeTar(file, pairs)
  await settle()
  const labels = async (path: string) => {
    const { test: all, close } = await loadDataset(path, { halves: 'all' })
    await close()
    return [...all.labels]
  }
  const rewrite = async (change: (text: string) => string, name: string) => {
    const text = gunzipSync(await readFile(join(cache, name))).toString()
    t.not(change(text), text)
    await writeFile(join(cache, name), gzipSync(change(text)))
  }
  t.deepEqual(
    [await labels(file), await labels(file)],
    [
      [1, 0, 1, 0],
      [1, 0, 1, 0],
    ],
  )
  const [name] = await readdir(cache)
  const rewritten = (change: (json: string) => string) => (text: string) => {
    const json = change(text.slice(65))
    return `${createHash('sha256').update(json).digest('hex')}\n${json}`
  }
  await rewrite((text) => text.replace('"1.cls","1"', '"1.cls","0"'), name!)
  t.deepEqual(await labels(file), [1, 0, 1, 0], 'the digest tells')
  for (const change of [
    (json: string) => json.replace(/"sizes":\[\d+/, '"sizes":[99999999'),
    (json: string) => json.replace(/"offsets":\[\d+/, '"offsets":[-5'),
    (json: string) => json.replace(/"sizes":\[\d+,/, '"sizes":['),
    (json: string) => json.replace('"paths":["1.png"', '"paths":[7'),
    (json: string) => json.replace('["1.cls","1"]', '["1.cls"]'),
    (json: string) => json.replace('"repeated":[]', '"repeated":{}'),
    (json: string) => json.replace(/"stamps":\[[^\]]*\]/, '"stamps":null'),
    (json: string) => json.replace(/"found":.*/, '"found":null}'),
    () => 'null',
    () => '7',
  ]) {
    await rewrite(rewritten(change), name!)
    t.deepEqual(await labels(file), [1, 0, 1, 0], `${change}`)
  }
  const folder = join(root, 'photos')
  await writeTree(folder, await classPictures('', ['a', 'b'], 3))
  await settle()
  const listed = async () => (await listing(loadImageFolder, folder)).listed
  t.deepEqual([await listed(), await listed()], [true, false])
  const [ofFolder] = (await readdir(cache)).filter((each) => each !== name)
  for (const change of [
    (json: string) => json.replace('"a/00.png"', '"../x.tar"'),
    (json: string) => json.replace('"a/00.png"', '"/etc/passwd"'),
    (json: string) => json.replace('"a/00.png"', 'null'),
    (json: string) => json.replace('"bytes":[]', '"bytes":[["a/00.png","2e2e2f78"]]'),
    (json: string) => json.replace('"faults":[]', '"faults":[{"name":"x","reason":"","fault":"toString"}]'),
  ]) {
    await rewrite(rewritten(change), ofFolder!)
    t.deepEqual([await listed(), await listed()], [true, false], `${change}`)
  }
})

test('where there is no home nothing is kept', async (t) => {
  const source = await temporaryFolder()
  await settle()
  const given = { ...process.env }
  const isFound = (kept: unknown): kept is number => typeof kept === 'number'
  let scans = 0
  const cached = () => cachedScan({ path: source, scan: async () => ++scans, sourcesOf: () => [source], isFound })
  delete process.env.AUTOPROG_CACHE
  delete process.env.XDG_CACHE_HOME
  try {
    for (const home of ['', 'relative']) {
      process.env.HOME = home
      t.deepEqual([await cached(), await cached()], [scans - 1, scans])
      t.false(existsSync(join(home || '.', '.cache', 'autoprog')))
    }
  } finally {
    Object.assign(process.env, given)
  }
})

unless(process.getuid?.() !== 0 && 'only the superuser becomes somebody else')(
  'a user whom the system does not know, without a home, goes without a cache',
  async (t) => {
    const folder = await temporaryFolder()
    await chmod(folder, 0o755)
    await writeTree(folder, await classPictures('', ['a', 'b'], 2))
    await chmod(join(folder, 'a'), 0o755)
    await chmod(join(folder, 'b'), 0o755)
    const script = `
    delete process.env.HOME; delete process.env.AUTOPROG_CACHE; delete process.env.XDG_CACHE_HOME
    const { listDataset } = await import(process.argv[1])
    process.setgid(12345); process.setuid(12345)
    const { homedir } = await import('node:os')
    let known = true
    try { homedir() } catch { known = false }
    console.log(known, (await listDataset(process.argv[2])).classes.join())`
    const found = execFileSync(
      process.execPath,
      [
        '--import',
        import.meta.resolve('tsx'),
        '--input-type=module',
        '-e',
        script,
        resolve('datasets/index.ts'),
        folder,
      ],
      { encoding: 'utf8' },
    )
    t.is(found.trim(), 'false a,b')
  },
)

withPipes('a pipe in the place of the cache costs the cache alone', async (t) => {
  t.timeout(60_000)
  const source = await temporaryFolder()
  const isFound = (kept: unknown): kept is number => typeof kept === 'number'
  await settle()
  const cached = (found: number) =>
    cachedScan({ path: source, scan: async () => found, sourcesOf: () => [source], isFound })
  t.deepEqual([await cached(1), await cached(2)], [1, 1])
  const [name] = await readdir(cache)
  await rm(join(cache, name!))
  execFileSync('mkfifo', [join(cache, name!)])
  execFileSync('mkfifo', [join(cache, `${name}.${process.pid}.tmp`)])
  t.deepEqual([await cached(3), await cached(4)], [3, 3])
  await rm(cache, { recursive: true })
  execFileSync('mkfifo', [cache])
  t.deepEqual([await cached(5), await cached(6)], [5, 6])
})

unless(!process.seteuid)('a cache folder that is read-only is no error', async (t) => {
  const source = await temporaryFolder()
  await mkdir(cache, { recursive: true })
  await chmod(dirname(cache), 0o755)
  await chmod(cache, 0o555)
  await settle()
  const superuser = process.geteuid?.() === 0
  if (superuser) process.seteuid?.(65534) // nobody: the superuser may write everywhere
  try {
    const isFound = (kept: unknown): kept is number => typeof kept === 'number'
    const found = await cachedScan({ path: source, scan: async () => 7, sourcesOf: () => [source], isFound })
    t.is(found, 7)
  } finally {
    if (superuser) process.seteuid?.(0)
  }
  t.deepEqual(await readdir(cache), [])
})
