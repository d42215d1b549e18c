import { decodeImage } from '../../../lib/data/image/decode.js'
import { checkError } from '../../error.js'
import { test } from '../../serial.js'
import { type BmpOptions, bmp } from './files.js'

const decode = async (options: BmpOptions) => [
  ...(await decodeImage(bmp(options), { name: 'x.bmp', channels: 3 })).pixels,
]
const row = (...pixels: number[][]) => pixels.flat()

/** Two rows of three pixels, the upper first. */
const pixels = [
  [
    [1, 2, 3],
    [250, 128, 7],
    [0, 255, 0],
  ],
  [
    [9, 8, 7],
    [255, 255, 255],
    [0, 0, 0],
  ],
]
const wanted = pixels.flat(2)
const size = { width: 3, height: 2 }
const bgr = (line: number[][]) => row(...line.map(([red, green, blue]) => [blue!, green!, red!]))
const bgrx = (line: number[][]) => row(...line.map(([red, green, blue]) => [blue!, green!, red!, 77]))

test('BMP: 24 and 32 bits are blue, green, red, from the lowest row up or from the highest down', async (t) => {
  const upwards = [...pixels].reverse()
  t.deepEqual(await decode({ ...size, bits: 24, rows: upwards.map(bgr) }), wanted)
  t.deepEqual(await decode({ ...size, bits: 24, rows: pixels.map(bgr), topDown: true }), wanted)
  t.deepEqual(await decode({ ...size, bits: 24, rows: upwards.map(bgr), oldHeader: true }), wanted)
  t.deepEqual(await decode({ ...size, bits: 32, rows: upwards.map(bgrx) }), wanted)
})

test('BMP: 1, 4 and 8 bits choose from a palette', async (t) => {
  const palette = [3, 2, 1, 0, 0, 0, 200, 0, 255, 255, 255, 0] // blue, green, red and a filling byte each
  const colours = [
    [1, 2, 3],
    [200, 0, 0],
    [255, 255, 255],
  ]
  const of = (...indices: number[]) => indices.flatMap((index) => colours[index]!)
  const one = { width: 3, height: 1, palette }
  t.deepEqual(await decode({ ...one, bits: 8, rows: [[2, 0, 1]] }), of(2, 0, 1))
  t.deepEqual(await decode({ ...one, bits: 4, rows: [[0x20, 0x10]] }), of(2, 0, 1))
  t.deepEqual(await decode({ ...one, bits: 1, rows: [[0b10100000]] }), of(1, 0, 1))
  t.deepEqual(
    await decode({ ...one, bits: 8, rows: [[9, 0, 1]] }),
    [0, 0, 0, ...of(0, 1)],
    'an index beyond the palette',
  )
})

test('BMP: 16 bits, and colours by masks, are scaled to 255', async (t) => {
  const fifth = 0b0_00001_10000_11111
  const scaled = [1, 16, 31].map((value) => Math.floor((value * 255) / 31))
  const one = { width: 1, height: 1 }
  t.deepEqual(await decode({ ...one, bits: 16, rows: [[fifth & 255, fifth >> 8]] }), scaled)
  const sixth = 0b00001_100000_11111
  const masks = [0xf800, 0x7e0, 0x1f]
  t.deepEqual(await decode({ ...one, bits: 16, rows: [[sixth & 255, sixth >> 8]], compression: 3, masks }), [
    scaled[0],
    Math.floor((32 * 255) / 63),
    255,
  ])
  const swapped = { ...one, bits: 32, compression: 3, masks: [0xff, 0xff00, 0xff000000] }
  t.deepEqual(await decode({ ...swapped, rows: [[10, 20, 30, 240]] }), [10, 20, 240])
})

test('BMP: what is cut off, compressed or of a senseless header is an IMAGE error', async (t) => {
  const good = bmp({ ...size, bits: 24, rows: pixels.map(bgr) })
  const cases: [file: Uint8Array, message: RegExp][] = [
    [good.subarray(0, good.length - 4), /truncated/],
    [good.subarray(0, 20), /truncated/],
    [bmp({ ...size, bits: 8, rows: [[3, 0]], compression: 1 }), /compressed BMP, which is not read/],
    [bmp({ ...size, bits: 2, rows: [[0]] }), /2 bits a pixel/],
    [bmp({ width: 0, height: 2, bits: 24, rows: [] }), /0 x 2 pixels/],
    [bmp({ width: -3, height: 2, bits: 24, rows: [] }), /-3 x 2 pixels/],
    [bmp({ width: 2 ** 30, height: 2 ** 30, bits: 1, rows: [[0]] }), /at most 178,956,970/],
    [bmp({ width: 70_000, height: 1, bits: 1, rows: [[0]] }), /70,000 x 1 pixels, and at most 65,536 on a side/],
  ]
  for (const [file, message] of cases) {
    const decoding = decodeImage(file, { name: 'cat/1.bmp', channels: 3 })
    checkError(t, await t.throwsAsync(decoding), { code: 'IMAGE', message })
  }
  const unfilled = good.subarray(0, good.length - 3) // of the last row's filling
  t.is((await decodeImage(unfilled, { name: 'x', channels: 3 })).pixels.length, 18)
  for (let at = 10; at < 54; at++) {
    for (const value of [0, 1, 127, 128, 255]) {
      const hostile = Buffer.from(good)
      hostile[at] = value
      const error = await decodeImage(hostile, { name: 'x', channels: 3 }).catch((cause: unknown) => cause)
      if (error instanceof Error) checkError(t, error, { code: 'IMAGE' })
    }
  }
})
