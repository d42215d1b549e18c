/** The IDX format of MNIST (yann.lecun.com/exdb/mnist): a magic number, big-endian sizes, then the values row by row. */
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { AutoprogError } from '../../errors.js'
import { readWholeFile } from './files.js'

const unsignedByte = 0x08

/** Bytes of a file that is unpacked in memory. */
const largest = 2 ** 31

/** 8-bit values of the given shape, row-major. */
export interface IdxArray {
  readonly shape: readonly number[]
  readonly data: Uint8Array
}

/** Reads an IDX file of bytes, or its gzipped form under the same name with `.gz`. Throws DATA, naming the file and what is wrong. */
export async function readIdx(file: string, dimensions: number): Promise<IdxArray> {
  const { bytes, source } = await readPlainOrGzipped(file)
  const wrong = (reason: string) =>
    new AutoprogError('DATA', `${source} is not a valid IDX file: ${reason}`, { hint: 'fetch or install it anew' })
  const header = 4 + 4 * dimensions
  if (bytes.length < header) throw wrong(`${bytes.length} bytes are too short for a header of ${header}`)
  const magic = bytes.readUInt32BE(0)
  const expectedMagic = (unsignedByte << 8) | dimensions
  if (magic !== expectedMagic) throw wrong(`magic number ${magic} where ${expectedMagic} is due`)
  const shape = Array.from({ length: dimensions }, (_, i) => bytes.readUInt32BE(4 + 4 * i))
  const size = shape.reduce((product, each) => product * each, 1)
  if (bytes.length - header !== size) {
    throw wrong(`${bytes.length - header} values where its shape ${shape.join(' x ')} needs ${size}`)
  }
  return { shape, data: bytes.subarray(header) }
}

async function readPlainOrGzipped(file: string): Promise<{ bytes: Buffer; source: string }> {
  try {
    return { bytes: await readWholeFile(file), source: file }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw new AutoprogError('DATA', `Cannot read ${file}: ${(cause as Error).message}`, { cause })
    }
  }
  const source = `${file}.gz`
  try {
    return { bytes: await promisify(gunzip)(await readWholeFile(source), { maxOutputLength: largest }), source }
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT'
    const message = missing ? `${file} is missing` : `Cannot read ${source}: ${(cause as Error).message}`
    throw new AutoprogError('DATA', message, { cause, hint: 'fetch or install it anew' })
  }
}
