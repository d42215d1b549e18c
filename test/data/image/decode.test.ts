import sharp from 'sharp'
import { forEachConcurrently } from '../../../lib/data/concurrent.js'
import { decodeImage, decodingLanes } from '../../../lib/data/image/decode.js'
import type { BrokenImage, ImageFault } from '../../../lib/data/image/fault.js'
import { fileLimit } from '../../../lib/data/image/limits.js'
import { checkError } from '../../error.js'
import { same } from '../../same.js'
import { test } from '../../serial.js'
import { noise, picture, vastPng } from '../images.js'
import { gif, jpegOfScans, tiff } from './files.js'

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

test('alpha is dropped, palettes and 16 bits are understood', async (t) => {
  const pixels = noise(4 * 4 * 4)
  const opaque = pixels.filter((_, i) => i % 4 !== 3)
  const alpha = await rgb(await raw(pixels, 4, 4, 4).png().toBuffer())
  same(t, new Uint8Array(alpha.pixels), opaque)
  const palette = await rgb(await raw(opaque, 4, 4, 3).png({ palette: true, dither: 0, quality: 100 }).toBuffer())
  t.true(palette.pixels.every((value, i) => Math.abs(value - opaque[i]!) <= 8))
  const deep = await rgb(await raw(opaque, 4, 4, 3).toColourspace('rgb16').png().toBuffer())
  t.true(deep.pixels.every((value, i) => Math.abs(value - opaque[i]!) <= 1))
})

test('16 bits of grey are scaled, not clipped', async (t) => {
  const values = Uint16Array.of(0, 255, 256, 300, 0x8000, 0xffff)
  const grey = sharp(values, { raw: { width: 6, height: 1, channels: 1 } }).toColourspace('grey16')
  const { pixels } = await decodeImage(await grey.png().toBuffer(), { name: 'x', channels: 1 })
  t.deepEqual(
    [...pixels],
    [...values].map((value) => value >> 8),
  )
})

test('colour becomes grey as in convert(L)', async (t) => {
  const png = await raw(Uint8Array.of(255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30), 1, 4, 3)
    .png()
    .toBuffer()
  const { pixels } = await decodeImage(png, { name: 'x', channels: 1 })
  t.deepEqual([...pixels], [76, 150, 29, 18]) // 0.299 red, 0.587 green, 0.114 blue
})

test('inks of a CMYK TIFF let light pass as in Pillow', async (t) => {
  const inks = [
    [
      [0, 0, 0, 0],
      [255, 255, 255],
    ],
    [
      [255, 0, 0, 0],
      [0, 255, 255],
    ],
    [
      [0, 0, 0, 255],
      [0, 0, 0],
    ],
    [
      [255, 255, 255, 255],
      [0, 0, 0],
    ],
    [
      [100, 0, 0, 55],
      [122, 200, 200],
    ], // 200 - 100 * 200 / 255
    [
      [10, 20, 30, 128],
      [122, 117, 112],
    ],
  ] as const
  const file = tiff({ width: 6, height: 1, channels: 4, photometric: 5, pixels: inks.flatMap(([ink]) => [...ink]) })
  t.deepEqual(
    [...(await rgb(file)).pixels],
    inks.flatMap(([, colour]) => [...colour]),
  )
})

test('CMYK JPEGs hold inks the other way round, and white stays white', async (t) => {
  const white = await raw(new Uint8Array(8 * 8 * 3).fill(255), 8, 8, 3)
    .toColourspace('cmyk')
    .jpeg()
    .toBuffer()
  t.true((await rgb(white)).pixels.every((value) => value >= 254))
  const smooth = Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => ((i >> 4) * 7) & 255)
  const jpeg = await raw(smooth, 16, 16, 3).toColourspace('cmyk').jpeg({ quality: 95 }).toBuffer()
  t.is((await sharp(jpeg).metadata()).channels, 4)
  const inks = await sharp(jpeg).pipelineColourspace('cmyk').toColourspace('cmyk').raw().toBuffer()
  const wanted = Uint8Array.from({ length: smooth.length }, (_, i) => {
    const [ink, black] = [inks[4 * Math.floor(i / 3) + (i % 3)]!, inks[4 * Math.floor(i / 3) + 3]!]
    return 255 - black - Math.round((ink * (255 - black)) / 255)
  })
  same(t, (await rgb(jpeg)).pixels, wanted)
})

const palette = [10, 20, 30, 40, 50, 60, 70, 80, 90, 255, 255, 255]
const colours = [0, 3, 6, 9].map((at) => palette.slice(at, at + 3))

test('a GIF is its first frame on its canvas; what is open there has a colour of the palette', async (t) => {
  const frame = { left: 1, top: 1, width: 2, height: 1, indices: [3, 2] }
  const canvas = async (transparent?: number) => {
    const image = await rgb(
      gif({ width: 3, height: 2, palette, frame, ...(transparent !== undefined && { transparent }) }),
    )
    t.deepEqual([image.width, image.height], [3, 2])
    return [...image.pixels]
  }
  const shown = (...indices: number[]) => indices.flatMap((index) => colours[index]!)
  t.deepEqual(await canvas(), shown(0, 0, 0, 0, 3, 2), 'beside the frame lies index 0')
  t.deepEqual(await canvas(2), shown(2, 2, 2, 2, 3, 2), 'or the transparent one')
  t.deepEqual(await canvas(1), shown(1, 1, 1, 1, 3, 2))
  const whole = { left: 0, top: 0, width: 2, height: 2, indices: [1, 2, 1, 3] }
  t.deepEqual(
    [...(await rgb(gif({ width: 2, height: 2, palette, transparent: 1, frame: whole }))).pixels],
    shown(1, 2, 1, 3),
  )
})

test('a TIFF is turned as its tag says, which is a part of it', async (t) => {
  const file = (orientation: number) =>
    rgb(tiff({ width: 2, height: 1, channels: 3, photometric: 2, orientation, pixels: [1, 2, 3, 7, 8, 9] }))
  const upright = await file(1)
  t.deepEqual([upright.width, upright.height, ...upright.pixels], [2, 1, 1, 2, 3, 7, 8, 9])
  const mirrored = await file(2)
  t.deepEqual([mirrored.width, mirrored.height, ...mirrored.pixels], [2, 1, 7, 8, 9, 1, 2, 3])
  const turned = await file(8) // the first row is the left side, from the bottom up
  t.deepEqual([turned.width, turned.height, ...turned.pixels], [1, 2, 7, 8, 9, 1, 2, 3])
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

test('a JPEG that decoders merely warn of is as good as without that', async (t) => {
  const jpeg = await picture({ format: 'jpeg', height: 32, width: 32 })
  const clean = (await rgb(jpeg)).pixels
  const frame = jpeg.indexOf(Buffer.from([0xff, 0xc0]))
  const oddScan = Buffer.from(jpeg)
  oddScan[jpeg.indexOf(Buffer.from([0xff, 0xda])) + 12] = 0 // as some phones' cameras write it
  const adobe = Buffer.from('ffee000e41646f626500640000000007', 'hex') // a colour transform of number 7
  const cases = {
    'bytes between its segments': Buffer.concat([jpeg.subarray(0, frame), Buffer.alloc(2), jpeg.subarray(frame)]),
    'a strange scan header': oddScan,
    'an unknown code of Adobe': Buffer.concat([jpeg.subarray(0, 2), adobe, jpeg.subarray(2)]),
    'bytes behind its end': Buffer.concat([jpeg, Buffer.from('behind')]),
  }
  for (const [what, file] of Object.entries(cases)) {
    same(t, (await rgb(file)).pixels, clean, what)
    for (const length of [file.length - 100, file.length >> 1, 20, 3]) {
      await t.throwsAsync(rgb(file.subarray(0, length)), { code: 'IMAGE' }, what)
    }
  }
  const damaged = Buffer.from(jpeg).fill(0, jpeg.length - 300, jpeg.length - 290) // a picture, if not that one
  t.is((await rgb(damaged)).pixels.length, clean.length)
})

test('why an image is broken is said once and briefly', async (t) => {
  const jpeg = await picture({ format: 'jpeg', height: 64, width: 64 })
  const error = await t.throwsAsync<BrokenImage>(rgb(jpeg.subarray(0, jpeg.length / 2)), { code: 'IMAGE' })
  t.is(error?.reason, 'premature end of JPEG image')
})

test('of a name that would command a terminal the letters are shown', async (t) => {
  const decoding = decodeImage(Buffer.from('rubbish'), { name: 'a/\x1b[31m\u202egnp.jpg\n', channels: 3 })
  const message = 'Cannot read the image a/\\u001b[31m\\u202egnp.jpg\\u000a: it is not an image of a known format'
  await t.throwsAsync(decoding, { message })
})

test('a format that is not read is named, whatever the file is called', async (t) => {
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
  const box = (brand: string) => Buffer.concat([Buffer.from([0, 0, 0, 20]), Buffer.from(`ftyp${brand}\0\0\0\0mif1`)])
  const cases: [bytes: Uint8Array, message: RegExp, hint: RegExp][] = [
    [Buffer.from(svg), /: it is an SVG file$/, /^convert to PNG or JPEG/],
    [Buffer.from(`\ufeff<?xml version="1.0"?>\n<!-- ${'x'.repeat(300)} -->\n${svg}`), /an SVG file$/, /^convert/],
    [
      Buffer.from(`<?xml version="1.0"?>\n<!-- ${'<html> '.repeat(3000)} -->\n\n<!-- --><s:svg/>`),
      /an SVG file$/,
      /^convert/,
    ],
    [Buffer.from('<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x"><svg/>'), /an SVG file$/, /^convert/],
    [Buffer.from('<!-- <svg> -->'), /an XML file$/, /^convert/],
    [Buffer.from('<!-- <svg>'), /an XML file$/, /^convert/],
    [Buffer.from('<?xml version="1.0"?><note><svg/></note>'), /an XML file$/, /^convert/],
    [Buffer.from('<?xml version="1.0"?><note/>'), /an XML file$/, /^convert/],
    [Buffer.from('<!doctype html><html>404'), /an HTML page$/, /^convert/],
    [box('heic'), /a HEIC file$/, /^convert/],
    [box('isom'), /a HEIC file$/, /^convert/],
    [Buffer.from('8BPS\0\x01'), /a Photoshop file$/, /^convert/],
    [Buffer.from([0, 0, 1, 0, 1, 0]), /an icon$/, /^convert/],
    [Buffer.from('%PDF-1.7'), /a PDF file$/, /^convert/],
    [Buffer.from('version https://git-lfs.github.com/spec/v1\n'), /a pointer of Git LFS/, /^convert/],
    [Buffer.from([0xff, 0x0a, 0, 0]), /a JPEG XL file$/, /^convert/],
    [Buffer.alloc(100), /not an image of a known format$/, /^replace/],
  ]
  for (const [bytes, message, hint] of cases) {
    const decoding = decodeImage(bytes, { name: 'cat/1.png', channels: 3 })
    const error = checkError(t, await t.throwsAsync<BrokenImage>(decoding), { code: 'IMAGE', message, hint })
    t.is(error.fault, 'format')
  }
})

test('what decoders were not built for is named, and not called damaged', async (t) => {
  const file = tiff({ width: 1, height: 1, channels: 3, photometric: 2, pixels: [1, 2, 3] })
  file.writeUInt16LE(50_000, file.indexOf(Buffer.from([3, 1, 3, 0])) + 8) // compressed by Zstandard
  const error = await t.throwsAsync<BrokenImage>(rgb(file), { code: 'IMAGE', message: /ZSTD/ })
  t.is(error!.fault, 'format')
  checkError(t, error, { code: 'IMAGE', hint: /^convert to PNG or JPEG/ })
})

test('an image beyond the limits is an IMAGE error that names it and the limit', async (t) => {
  const longPng = await sharp({ create: { width: 65_537, height: 1, channels: 3, background: 'red' } })
    .png()
    .toBuffer()
  const longTiff = await sharp({ create: { width: 1, height: 65_537, channels: 3, background: 'red' } })
    .tiff({ compression: 'none' })
    .toBuffer()
  const vastJpeg = jpegOfScans(49)
  const frame = vastJpeg.indexOf(Buffer.from([0xff, 0xc2]))
  for (const at of [5, 7]) vastJpeg.writeUInt16BE(13_376, frame + at)
  const vastTiff = tiff({ width: 20_000, height: 20_000, channels: 3, photometric: 2, pixels: [0] })
  const cases: [bytes: Uint8Array, reason: RegExp][] = [
    [longPng, /^it has 65,537 x 1 pixels, and at most 65,536 on a side are read$/],
    [longTiff, /^it has 1 x 65,537 pixels/],
    [vastTiff, /^it has 20,000 x 20,000 pixels, and at most 178,956,970 in all are read$/],
    [vastPng(13_378), /^it has 13,378 x 13,378 pixels, and at most 178,956,970 in all are read$/],
    [jpegOfScans(501), /^it has more than 500 scans, which are the most that are read of 8 x 8 pixels$/],
    [vastJpeg, /^it has more than 48 scans, which are the most that are read of 13,376 x 13,376 pixels$/],
    [Buffer.alloc(fileLimit + 1), /^it has 257 MiB, and at most 256 MiB are read$/],
  ]
  for (const [bytes, reason] of cases) {
    const error = await t.throwsAsync<BrokenImage>(rgb(bytes), { code: 'IMAGE' })
    t.regex(error!.reason, reason)
    t.is(error!.fault, 'large')
  }
  t.is((await rgb(jpegOfScans(500))).pixels.length, 8 * 8 * 3)
  t.is((await rgb(await picture({ width: 4000, height: 1 }))).width, 4000)
})

test('whether an image is good does not depend on those decoded beside it', async (t) => {
  const good = await picture({ format: 'jpeg', height: 64, width: 64 })
  const odd = Buffer.from(good)
  odd[good.indexOf(Buffer.from([0xff, 0xda])) + 12] = 0
  const cut = good.subarray(0, good.length / 2)
  const reasons = new Set<string>()
  await forEachConcurrently(400, decodingLanes, async (index) => {
    const decoding = rgb([odd, good, cut, good][index % 4]!)
    if (index % 4 === 2) await decoding.catch((error: BrokenImage) => reasons.add(error.reason))
    else t.is((await decoding).pixels.length, 64 * 64 * 3)
  })
  t.deepEqual([...reasons], ['premature end of JPEG image'])
})
