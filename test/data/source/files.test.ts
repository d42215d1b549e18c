import { execFileSync } from 'node:child_process'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { loadDataset } from '../../../datasets/index.js'
import { createLabelWriter, partOf } from '../../../lib/data/labels/label-writer.js'
import { openLabelMaps } from '../../../lib/data/labels/token-labels.js'
import { openFile, readWholeFile } from '../../../lib/data/source/files.js'
import { readIdx } from '../../../lib/data/source/idx.js'
import { writeTar } from '../../datasets/archives.js'
import { checkError } from '../../error.js'
import { test } from '../../serial.js'
import { unless } from '../../unless.js'
import { classPictures, temporaryFolder, writeTree } from '../images.js'

const withPipes = unless(process.platform === 'win32' && 'folders hold no pipes')

async function pipeIn(name: string): Promise<{ folder: string; pipe: string }> {
  const folder = await temporaryFolder()
  execFileSync('mkfifo', [join(folder, name)])
  return { folder, pipe: join(folder, name) }
}

test('a file is read whole; what is none is refused by the system or by us', async (t) => {
  const folder = await temporaryFolder()
  await writeFile(join(folder, 'x'), 'text')
  t.is((await readWholeFile(join(folder, 'x'))).toString(), 'text')
  t.is((await readWholeFile(Buffer.from(join(folder, 'x')))).toString(), 'text')
  await t.throwsAsync(openFile(join(folder, 'y')), { code: 'ENOENT' })
  await t.throwsAsync(openFile(folder), { message: 'it is a folder' })
})

withPipes('pipes, sockets and devices are refused at once, in the place of any data', async (t) => {
  t.timeout(60_000)
  const { folder, pipe } = await pipeIn('x-train.tar')
  const refused = { code: 'DATA', message: /neither a file nor a folder/ }
  await t.throwsAsync(openFile(pipe), { message: 'it is neither a file nor a folder' })
  checkError(t, await t.throwsAsync(loadDataset(pipe)), refused)
  checkError(t, await t.throwsAsync(loadDataset(folder)), refused)
  checkError(t, await t.throwsAsync(loadDataset('/dev/zero')), refused)
  checkError(t, await t.throwsAsync(loadDataset(join(folder, 'x-trai{n,m}.tar'))), refused)
  const socket = join(folder, 'socket.pack')
  const server = createServer().listen(socket)
  await new Promise((resolve) => server.once('listening', resolve))
  checkError(t, await t.throwsAsync(loadDataset(socket)), refused)
  await new Promise((resolve) => server.close(resolve))

  await rm(pipe)
  await writeTar(pipe, await classPictures('', ['a', 'b'], 2))
  execFileSync('mkfifo', [join(folder, 'x-val.tar')])
  checkError(t, await t.throwsAsync(loadDataset(pipe)), refused)

  for (const name of ['batches.meta.txt', 'data_batch_1.bin']) {
    const cifar = await pipeIn(name)
    if (!name.endsWith('txt')) await writeTree(cifar.folder, { 'batches.meta.txt': 'a\nb\n' })
    checkError(t, await t.throwsAsync(loadDataset(cifar.folder)), refused)
  }
  for (const name of ['images', 'images.gz']) {
    const idx = await pipeIn(name)
    checkError(t, await t.throwsAsync(readIdx(join(idx.folder, 'images'), 3)), refused)
  }
})

withPipes('among label maps too', async (t) => {
  t.timeout(60_000)
  const root = await temporaryFolder()
  await writeTree(root, await classPictures('train/', ['a', 'b'], 2))
  const { train: split, classes } = await loadDataset(root)
  const refused = { code: 'DATA', message: /neither a file nor a folder/ }
  const { pipe } = await pipeIn('maps.safetensors')
  checkError(t, await t.throwsAsync(openLabelMaps(pipe, { split, classes })), refused)
  const maps = await temporaryFolder()
  await mkdir(join(maps, 'a'))
  execFileSync('mkfifo', [join(maps, 'a', '00.safetensors')])
  checkError(t, await t.throwsAsync(openLabelMaps(maps, { split, classes })), refused)
  const path = join(maps, 'new.safetensors')
  execFileSync('mkfifo', [partOf(path)])
  const file = { names: ['a'], shape: [1, 1, 1], classes, made: {} } as const
  checkError(t, await t.throwsAsync(createLabelWriter(path, file)), { code: 'DATA', message: /it is no file/ })
})
