/**
 * CIFAR-10 (Krizhevsky, 2009) in its own binary form, cs.toronto.edu/~kriz/cifar-10-binary.tar.gz unpacked: 32 x 32 colour pictures,
 * 50,000 for training in five files and 10,000 for testing in one. A record is a label and then the red, the green and the blue plane.
 */
import { access } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Dataset, LoadOptions } from '../lib/data/source/dataset.js'
import { readWholeFile } from '../lib/data/source/files.js'
import { inMemorySplit } from '../lib/data/source/in-memory.js'
import { AutoprogError } from '../lib/errors.js'

const side = 32
const plane = side * side
const recordBytes = 1 + 3 * plane
const trainBatches = [1, 2, 3, 4, 5].map((number) => `data_batch_${number}.bin`)
const testBatch = 'test_batch.bin'
const classNames = 'batches.meta.txt'

/** Whether a folder holds CIFAR-10's files, or some of them. */
export async function isCifar10(folder: string): Promise<boolean> {
  const known = [classNames, trainBatches[0]!].map((file) => access(join(folder, file)))
  return Promise.any(known).then(
    () => true,
    () => false,
  )
}

/** Throws DATA, naming the file, where one is missing, is no whole number of records or not as long as the others, or has a wrong label. */
export async function loadCifar10(folder: string, { signal }: LoadOptions = {}): Promise<Dataset> {
  const read = (file: string) => readBytes(join(folder, file), signal)
  const classes = (await read(classNames))
    .toString('utf8')
    .split(/\s*\n\s*/)
    .filter((name) => name !== '')
  const batches: Batch[] = []
  for (const file of [...trainBatches, testBatch]) batches.push({ file: join(folder, file), bytes: await read(file) })
  checkSizes(batches)
  return {
    name: basename(folder) || folder,
    classes,
    channels: 3,
    train: readHalf(batches.slice(0, -1), classes.length),
    test: readHalf(batches.slice(-1), classes.length),
    notices: [],
    async close() {},
  }
}

interface Batch {
  readonly file: string
  readonly bytes: Buffer
}

/** A file cut off between two records is known by the others, which are as long as each other. */
function checkSizes(batches: readonly Batch[]): void {
  const due = Math.max(...batches.map(({ bytes }) => bytes.length))
  for (const { file, bytes } of batches) {
    if (bytes.length !== due) throw wrong(file, `has ${bytes.length} bytes where ${due} are due`)
    if (due === 0 || due % recordBytes !== 0) throw wrong(file, `has ${due} bytes, not whole records of ${recordBytes}`)
  }
}

function readHalf(batches: readonly Batch[], classes: number) {
  const perBatch = batches[0]!.bytes.length / recordBytes
  const length = perBatch * batches.length
  const pixels = new Uint8Array(length * 3 * plane)
  const labels = new Int32Array(length)
  const nameOf = (index: number) => `${batches[Math.floor(index / perBatch)]!.file}, record ${index % perBatch}`
  for (let index = 0; index < length; index++) {
    const { file, bytes } = batches[Math.floor(index / perBatch)]!
    const start = (index % perBatch) * recordBytes
    const label = bytes[start]!
    if (label >= classes)
      throw wrong(file, `has the label ${label} in record ${index % perBatch}, of ${classes} classes`)
    labels[index] = label
    for (let i = 0; i < plane; i++) {
      const to = (index * plane + i) * 3
      pixels[to] = bytes[start + 1 + i]!
      pixels[to + 1] = bytes[start + 1 + plane + i]!
      pixels[to + 2] = bytes[start + 1 + 2 * plane + i]!
    }
  }
  return inMemorySplit({ pixels, labels, height: side, width: side, channels: 3, nameOf })
}

async function readBytes(file: string, signal: AbortSignal | undefined): Promise<Buffer> {
  return readWholeFile(file, signal).catch((cause: NodeJS.ErrnoException) => {
    signal?.throwIfAborted()
    throw wrong(file, cause.code === 'ENOENT' ? 'is missing' : `cannot be read: ${cause.message}`, cause)
  })
}

function wrong(file: string, what: string, cause?: Error): AutoprogError {
  const hint = 'unpack cifar-10-binary.tar.gz anew'
  return new AutoprogError('DATA', `${file} ${what}`, { hint, ...(cause && { cause }) })
}
