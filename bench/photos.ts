/**
 * A set of JPEGs that cost a decoder what photographs do, for the loader's benches:
 *   node --import tsx bench/photos.ts FOLDER [--count 2000] [--width 500] [--height 375]
 * Each is a sum of noise whose octaves fall off as those of natural images do (amplitude 1 / frequency; Field, 1987), with
 * flat shapes for edges, saved at quality 90: some 100 kB at 500 x 375, as in ImageNet. Eight classes.
 */
import { mkdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import sharp from 'sharp'
import { forEachConcurrently } from '../lib/data/concurrent.js'
import { draw, Purpose, toInteger, toUnit } from '../lib/random.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    count: { type: 'string', default: '2000' },
    width: { type: 'string', default: '500' },
    height: { type: 'string', default: '375' },
  },
})
const [folder] = positionals
if (folder === undefined) throw new Error('Give the folder to write to')
const [width, height] = [Number(values.width), Number(values.height)]
const octaves = [3, 6, 12, 24, 48, 96, 192, 384]
const variants = 8

/** Noise of `cells` values across, enlarged smoothly: (height, width, 3). */
async function noise(cells: number, variant: number): Promise<Uint8Array> {
  const rows = Math.max(2, Math.round((cells * height) / width))
  const data = new Uint8Array(cells * rows * 3)
  for (let i = 0; i < data.length; i += 4) {
    const words = draw(cells, Purpose.augmentation, variant, i)
    for (let j = 0; j < 4 && i + j < data.length; j++) data[i + j] = words[j]! >>> 24
  }
  const small = sharp(data, { raw: { width: cells, height: rows, channels: 3 } })
  return small.resize(width, height, { kernel: 'cubic', fit: 'fill' }).raw().toBuffer()
}

const layers = await Promise.all(
  octaves.map((cells) => Promise.all(Array.from({ length: variants }, (_, variant) => noise(cells, variant)))),
)

/** Layers drawn by the image's number, every second one mirrored, and six ellipses. */
async function photo(image: number): Promise<Buffer> {
  const word = (index: number) => draw(1, Purpose.augmentation, image, index)[0]
  const sum = new Float32Array(width * height * 3).fill(128)
  for (const [octave, cells] of octaves.entries()) {
    const layer = layers[octave]![toInteger(word(octave), variants)]!
    const weight = 2.6 / Math.log2(2 * cells)
    const [last, direction] = word(octave) % 2 === 1 ? [sum.length - 1, -1] : [0, 1]
    for (let i = 0; i < sum.length; i++) sum[i]! += weight * (layer[last + direction * i]! - 128)
  }
  const pixels = new Uint8ClampedArray(sum)
  const shapes = Array.from({ length: 6 }, (_, index) => {
    const at = (i: number) => toUnit(word(100 + 8 * index + i))
    const colour = [5, 6, 7].map((i) => Math.floor(256 * at(i))).join()
    const place = `cx="${at(0) * width}" cy="${at(1) * height}" rx="${at(2) * 90}" ry="${at(3) * 90}"`
    return `<ellipse ${place} fill="rgb(${colour})" fill-opacity="${0.3 + 0.6 * at(4)}"/>`
  })
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${shapes.join('')}</svg>`
  const jpeg = await sharp(pixels, { raw: { width, height, channels: 3 } })
    .composite([{ input: Buffer.from(svg) }])
    .removeAlpha()
    .jpeg({ quality: 90 })
    .toBuffer()
  // Every fourth stands upright, so that not all are alike.
  return image % 4 === 3 ? sharp(jpeg).rotate(90).jpeg({ quality: 90 }).toBuffer() : jpeg
}

for (let label = 0; label < 8; label++) mkdirSync(join(folder, `class${label}`), { recursive: true })
let bytes = 0
await forEachConcurrently(Number(values.count), 4, async (image) => {
  const jpeg = await photo(image)
  bytes += jpeg.length
  await writeFile(join(folder, `class${image % 8}`, `${image}.jpg`), jpeg)
})
console.log(`${values.count} images, ${(bytes / Number(values.count) / 1000).toFixed(0)} kB on average`)
