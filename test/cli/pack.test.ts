import { spawnSync } from 'node:child_process'
import { readdir, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadDataset } from '../../datasets/index.js'
import { classPictures, temporaryFolder, writeTree } from '../data/images.js'
import { test } from '../serial.js'

test('a folder becomes one file, which is not written over unless asked to', async (t) => {
  const folder = await temporaryFolder()
  await writeTree(join(folder, 'pets'), await classPictures('', ['cat', 'dog'], 5, (i) => ({ width: 30 + i })))
  const pack = (...flags: string[]) => {
    const loader = fileURLToPath(import.meta.resolve('tsx'))
    const main = resolve('lib/cli/main.ts')
    return spawnSync(process.execPath, ['--import', loader, main, 'pack', ...flags], { cwd: folder, encoding: 'utf8' })
  }
  const first = pack('pets', 'pets.pack', '--max-size', '24')
  t.is(first.status, 0, first.stderr)
  t.regex(first.stdout, /^note: .*2 of 10 images are held out/m)
  t.regex(first.stdout, /^pets\.pack: 8 training images, 2 held out, 2 classes, .*B, in .* s$/m)
  const { train, close } = await loadDataset(join(folder, 'pets.pack'))
  t.is((await train.load(3)).width, 24)
  await close()

  const refused = pack('pets', 'pets.pack')
  t.is(refused.status, 1)
  t.regex(refused.stderr, /error DATA: pets\.pack is there already\nhint: add --force/)
  const { status, stdout, stderr } = pack('pets', 'pets.pack', '--raw', '--force', '--json')
  t.is(status, 0, stderr)
  const { seconds, notices, ...document } = JSON.parse(stdout) as { seconds: number; notices: string[] }
  t.true(seconds > 0 && notices.length === 1)
  const { size: bytes } = await stat(join(folder, 'pets.pack'))
  const counts = { trainImages: 8, testImages: 2 }
  t.deepEqual(document, {
    pack: 'pets.pack',
    data: 'pets',
    classes: ['cat', 'dog'],
    channels: 3,
    ...counts,
    bytes,
  })

  t.regex(pack('pets', 'pets.tar').stderr, /error CONFIG: Expected a name that ends in \.pack/)
  t.regex(pack('nothing', 'x.pack').stderr, /error DATA: There is no dataset and no file named nothing/)
  t.is(pack('pets', 'x.pack', '--raw', '--quality', '80').status, 2)
  t.deepEqual((await readdir(folder)).sort(), ['pets', 'pets.pack'])
})
