/** Small real images in real files, for the tests of data and datasets. */
import { rmSync } from 'node:fs'
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { crc32, deflateSync } from 'node:zlib'
import sharp from 'sharp'
import type { Augmentation } from '../../lib/data/image/transform.js'
import { draw, type Purpose } from '../../lib/random.js'

/** Shifts and mirror images. */
export const shifted: Augmentation = {
  ...{ crop: 'pad', pad: 2, scale: [0.08, 1], aspect: [3 / 4, 4 / 3], flip: true, filter: 'bicubic' },
  ...{ colorJitter: 0, randAugment: null, fill: [124, 116, 104], exact: false },
}

/** Random parts of pictures, with everything that DeiT does to them. */
export const deit: Augmentation = {
  ...shifted,
  ...{ crop: 'resized', randAugment: { magnitude: 9, deviation: 0.5, layers: 2 }, colorJitter: 0.3 },
}

const folders: string[] = []
process.on('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

/** A folder that is gone after the file's tests. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'autoprog-test-'))
  folders.push(folder)
  return folder
}

/** Values that look random but are the same every time. */
export function noise(length: number, seed = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => draw(seed, 1 satisfies Purpose, 0, i)[0] >>> 24)
}

export interface PictureOptions {
  height?: number
  width?: number
  seed?: number
  format?: 'png' | 'jpeg' | 'webp'
  /** Of a picture of one shade, with little noise; all noise unless given. */
  level?: number
}

/** An encoded RGB picture of noise. */
export async function picture(options: PictureOptions = {}): Promise<Buffer> {
  const { height = 8, width = 8, seed = 0, format = 'png', level } = options
  const pixels = noise(height * width * 3, seed)
  return sharp(level === undefined ? pixels : pixels.map((value) => level + (value >> 4)), {
    raw: { height, width, channels: 3 },
  })
    .toFormat(format)
    .toBuffer()
}

/** A valid black PNG of side x side pixels, each of one bit: a small file however many they are. */
export function vastPng(side: number): Buffer {
  const chunk = (type: string, data: Uint8Array) => {
    const body = Buffer.concat([Buffer.from(type), data])
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)]
    length.writeUInt32BE(data.length)
    sum.writeUInt32BE(crc32(body))
    return Buffer.concat([length, body, sum])
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(side, 0)
  header.writeUInt32BE(side, 4)
  header[8] = 1 // bits a pixel, of grey
  const rows = deflateSync(Buffer.alloc(side * (1 + Math.ceil(side / 8))))
  const signature = Buffer.from('89504e470d0a1a0a', 'hex')
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', rows), chunk('IEND', Buffer.alloc(0))])
}

/** Writes files, given by their paths under `root`. */
export async function writeTree(root: string, files: Record<string, Uint8Array | string>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), content)
  }
}

/** `count` PNG pictures in each class folder: `prefix/cat/00.png`. Every picture differs from every other. */
export async function classPictures(
  prefix: string,
  classes: readonly string[],
  count: number,
  options: (index: number) => PictureOptions = () => ({}),
): Promise<Record<string, Buffer>> {
  const files: Record<string, Buffer> = {}
  let seed = [...prefix].reduce((sum, character) => sum * 31 + character.charCodeAt(0), 7)
  for (const name of classes) {
    for (let i = 0; i < count; i++) {
      files[`${prefix}${name}/${String(i).padStart(2, '0')}.png`] = await picture({ seed: seed++, ...options(i) })
    }
  }
  return files
}
