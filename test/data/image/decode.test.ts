import sharp from 'sharp'
import { forEachConcurrently } from '../../../lib/data/concurrent.js'
import { decodeImage, decodingLanes } from '../../../lib/data/image/decode.js'
import type { BrokenImage, ImageFault } from '../../../lib/data/image/fault.js'
import { same } from '../../same.js'
import { test } from '../../serial.js'
import { noise, picture, vastPng } from '../images.js'

const raw = (pixels: Uint8Array, height: number, width: number, channels: 1 | 3 | 4) =>
  sharp(pixels, { raw: { height, width, channels } })
const rgb = (bytes: Uint8Array) => decodeImage(bytes, { name: 'x', channels: 3 })

test('a PNG comes back exactly, rows before columns', async (t) => {
  const pixels = noise(5 * 7 * 3)
  const image = await rgb(await raw(pixels, 5, 7, 3).png().toBuffer())
  t.deepEqual([image.height, image.width, image.channels], [5, 7, 3])
  same(t, new Uint8Array(image.pixels), pixels)
})

test('grey becomes three equal channels, and colour becomes grey where asked', async (t) => {
  const pixels = noise(30)
  const png = await raw(pixels, 5, 6, 1).toColourspace('b-w').png().toBuffer()
  const image = await rgb(png)
  same(
    t,
    new Uint8Array(image.pixels),
    Uint8Array.from({ length: 90 }, (_, i) => pixels[Math.floor(i / 3)]!),
  )
  const back = await decodeImage(png, { name: 'x', channels: 1 })
  t.is(back.channels, 1)
  same(t, new Uint8Array(back.pixels), pixels)
  const grey = await decodeImage(await picture(), { name: 'x', channels: 1 })
  t.is(grey.pixels.length, 64)
})

test('alpha is dropped, palettes, 16 bits and CMYK are understood', async (t) => {
  const pixels = noise(4 * 4 * 4)
  const opaque = pixels.filter((_, i) => i % 4 !== 3)
  const alpha = await rgb(await raw(pixels, 4, 4, 4).png().toBuffer())
  same(t, new Uint8Array(alpha.pixels), opaque)
  const palette = await rgb(await raw(opaque, 4, 4, 3).png({ palette: true, dither: 0, quality: 100 }).toBuffer())
  t.true(palette.pixels.every((value, i) => Math.abs(value - opaque[i]!) <= 8))
  const deep = await rgb(await raw(opaque, 4, 4, 3).toColourspace('rgb16').png().toBuffer())
  t.true(deep.pixels.every((value, i) => Math.abs(value - opaque[i]!) <= 1))
  const cmyk = await rgb(await raw(opaque, 4, 4, 3).toColourspace('cmyk').jpeg().toBuffer())
  t.is(cmyk.pixels.length, 48)
})

test('EXIF orientation does not rotate, as in torchvision', async (t) => {
  const image = await rgb(
    await raw(noise(4 * 9 * 3), 4, 9, 3)
      .withMetadata({ orientation: 6 })
      .jpeg()
      .toBuffer(),
  )
  t.deepEqual([image.height, image.width], [4, 9])
})

test('what is broken is an IMAGE error that names the image', async (t) => {
  const jpeg = await picture({ format: 'jpeg', height: 32, width: 32 })
  const png = await picture({ height: 32, width: 32 })
  const damaged = Buffer.from(jpeg)
  damaged.fill(0xff, jpeg.length - 400, jpeg.length - 340)
  const flipped = Buffer.from(png)
  flipped[500]! ^= 0xff
  const webp = await picture({ format: 'webp', height: 32, width: 32 })
  const cases: [what: string, bytes: Uint8Array, fault: ImageFault][] = [
    ['empty', new Uint8Array(0), 'empty'],
    ['text', Buffer.from('not an image'), 'format'],
    ['markup', Buffer.from('<!doctype html><html><body>404</body></html>'), 'format'],
    ['truncated JPEG', jpeg.subarray(0, jpeg.length / 2), 'damaged'],
    ['start of a JPEG', jpeg.subarray(0, 20), 'damaged'],
    ['truncated PNG', png.subarray(0, png.length / 2), 'damaged'],
    ['truncated WebP', webp.subarray(0, webp.length / 2), 'damaged'],
    ['damaged JPEG', damaged, 'damaged'],
    ['damaged PNG', flipped, 'damaged'],
    ['vast PNG', vastPng(30_000), 'large'],
  ]
  for (const [what, bytes, fault] of cases) {
    const decoding = decodeImage(bytes, { name: 'cat/1.jpg', channels: 3 })
    const expected = { code: 'IMAGE', message: /^Cannot read the image cat\/1.jpg: ./ }
    t.like(await t.throwsAsync(decoding, expected, what), { fault }, what)
  }
  t.is((await rgb(vastPng(3_000))).pixels.length, 3 * 3_000 ** 2)
})

/** A JPEG whose scan header is as some phones' cameras write it. */
async function oddScan(side: number): Promise<Buffer> {
  const jpeg = await picture({ format: 'jpeg', height: side, width: side })
  jpeg[jpeg.indexOf(Buffer.from([0xff, 0xda])) + 12] = 0
  return jpeg
}

test('a camera that writes odd SOS parameters is forgiven', async (t) => {
  const jpeg = await oddScan(16)
  const strict = sharp(jpeg, { failOn: 'warning' }).raw().toBuffer()
  await t.throwsAsync(strict, { message: /Invalid SOS parameters/ })
  const image = await rgb(jpeg)
  same(t, image.pixels, (await rgb(await picture({ format: 'jpeg', height: 16, width: 16 }))).pixels)
  for (const length of [jpeg.length - 100, jpeg.length / 2, 20, 3]) {
    await t.throwsAsync(rgb(jpeg.subarray(0, length)), { code: 'IMAGE' })
  }
})

test('whether an image is good does not depend on those decoded beside it', async (t) => {
  const odd = await oddScan(64)
  const good = await picture({ format: 'jpeg', height: 64, width: 64 })
  const cut = good.subarray(0, good.length / 2)
  const reasons = new Set<string>()
  await forEachConcurrently(400, decodingLanes, async (index) => {
    const decoding = rgb([odd, good, cut, good][index % 4]!)
    if (index % 4 === 2) await decoding.catch((error: BrokenImage) => reasons.add(error.reason))
    else t.is((await decoding).pixels.length, 64 * 64 * 3)
  })
  for (const reason of reasons) t.regex(reason, /premature end|Invalid SOS|truncated or damaged/)
})
