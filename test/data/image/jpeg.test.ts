import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import { decodeImage } from '../../../lib/data/image/decode.js'
import { jpegSize } from '../../../lib/data/image/jpeg.js'
import { decodesJpegs, type ImageOp, transformImages, transformJpeg } from '../../../lib/data/image/operations.js'
import { evaluationPlan, trainingPlan } from '../../../lib/data/image/transform.js'
import { same } from '../../same.js'
import { test } from '../../serial.js'
import { unless } from '../../unless.js'
import { deit, noise, temporaryFolder } from '../images.js'
import { jpegOfScans } from './files.js'

/** A picture with structure at every scale, since noise of single pixels is what JPEG keeps least. */
async function photo(width: number, height: number, options: object = {}, grey = false): Promise<Buffer> {
  const cells = await sharp(noise(12 * 9 * 3, width), { raw: { width: 12, height: 9, channels: 3 } })
    .resize(width, height, { fit: 'fill', kernel: 'cubic' })
    .toColourspace(grey ? 'b-w' : 'srgb')
    .png()
    .toBuffer()
  return sharp(cells)
    .jpeg({ quality: 92, ...options })
    .toBuffer()
}

const files: Record<string, Promise<Buffer>> = {
  '4:2:0': photo(201, 150),
  '4:4:4': photo(160, 121, { chromaSubsampling: '4:4:4' }),
  progressive: photo(133, 97, { progressive: true }),
  grey: photo(120, 90, {}, true),
  tiny: photo(5, 3),
  tall: photo(31, 400),
}

const size = (side: number) => ({ height: side, width: side })

/** The plan carried out on the whole image, decoded by sharp. */
async function wholly(bytes: Uint8Array, plan: readonly ImageOp[], side: number): Promise<Uint8Array> {
  const image = await decodeImage(bytes, { name: 'x', channels: 3 })
  const target = new Uint8Array(side * side * 3)
  await transformImages([image], 3, [plan], size(side), target)
  return target
}

async function partly(bytes: Uint8Array, plan: readonly ImageOp[], side: number, exact: boolean) {
  const target = new Uint8Array(side * side * 3)
  const seconds = await transformJpeg(bytes, jpegSize(bytes)!, plan, { exact, verify: true, ...size(side) }, target)
  return seconds && target
}

test('the size of a JPEG stands in its frame header', async (t) => {
  for (const [name, file] of Object.entries(files)) {
    const bytes = await file
    const { width, height } = await sharp(bytes).metadata()
    t.deepEqual(jpegSize(bytes), { width, height }, name)
    for (const length of [0, 1, 2, 20, 100]) t.is(jpegSize(bytes.subarray(0, length)), undefined)
  }
  t.is(jpegSize(await photo(16, 16).then((bytes) => sharp(bytes).png().toBuffer())), undefined)
  t.is(jpegSize(await photo(16, 16).then((bytes) => sharp(bytes).toColourspace('cmyk').jpeg().toBuffer())), undefined)
})

unless(!decodesJpegs() && 'this build has no libjpeg-turbo')(
  'parts of JPEGs: are what the whole image has there, wherever they lie',
  async (t) => {
    for (const [name, file] of Object.entries(files)) {
      const bytes = await file
      const picture = jpegSize(bytes)!
      for (let sample = 0; sample < 60; sample++) {
        const plan = trainingPlan(picture, 24, deit, {}, { seed: 1, epoch: 0, sample })
        same(t, await partly(bytes, plan, 24, true), await wholly(bytes, plan, 24), `${name}, sample ${sample}`)
      }
      const plans = [
        evaluationPlan(picture, 24, { fraction: 0.875, filter: 'bicubic' }),
        [{ op: 'resize', width: 24, height: 24, filter: 'bilinear', region: [0.5, 0.25, picture.width - 1.5, 2.75] }],
        [{ op: 'flip' }, { op: 'crop', left: -4, top: -4, width: 24, height: 24 }],
        [
          { op: 'crop', left: -3, top: 0, width: 40, height: 40 },
          { op: 'crop', left: 0, top: 0, width: 24, height: 24 },
        ],
      ] satisfies ImageOp[][]
      for (const plan of plans)
        same(t, await partly(bytes, plan, 24, true), await wholly(bytes, plan, 24), JSON.stringify(plan))
    }
  },
)

unless(!decodesJpegs() && 'this build has no libjpeg-turbo')(
  'parts of JPEGs: shrunk while they are decoded, are close to what they are shrunk from',
  async (t) => {
    for (const name of ['4:2:0', '4:4:4', 'progressive', 'grey', 'tall'] as const) {
      const bytes = await files[name]!
      const picture = jpegSize(bytes)!
      const plain = { ...deit, randAugment: null, colorJitter: 0, scale: [0.5, 1] as const }
      for (let sample = 0; sample < 20; sample++) {
        const plan = trainingPlan(picture, 12, plain, {}, { seed: 2, epoch: 0, sample })
        const [quick, exact] = [(await partly(bytes, plan, 12, false))!, await wholly(bytes, plan, 12)]
        const mean = quick.reduce((sum, value, i) => sum + Math.abs(value - exact[i]!), 0) / quick.length
        t.true(mean < 6, `${name}, sample ${sample}: ${mean}`)
      }
    }
  },
)

unless(!decodesJpegs() && 'this build has no libjpeg-turbo')(
  'parts of JPEGs: of a file that is not sound are left to the other decoder',
  async (t) => {
    const bytes = await files['4:2:0']!
    const picture = jpegSize(bytes)!
    const plan: ImageOp[] = [
      { op: 'crop', left: 0, top: 0, width: 30, height: 20 },
      { op: 'resize', width: 8, height: 8, filter: 'bicubic', region: [0, 0, 30, 20] },
    ]
    const attempt = (file: Uint8Array, from = picture) =>
      transformJpeg(file, from, plan, { exact: true, verify: true, ...size(8) }, new Uint8Array(192))
    t.truthy(await attempt(bytes))
    t.is(await attempt(bytes.subarray(0, bytes.length - 200)), undefined, 'cut off below the part')
    const damaged = Buffer.from(bytes)
    damaged.fill(0xff, bytes.length - 400, bytes.length - 340)
    t.is(await attempt(damaged), undefined)
    t.is(await attempt(Buffer.from('not an image')), undefined)
    t.is(await attempt(new Uint8Array(0)), undefined)
    t.is(await attempt(bytes, { width: 200, height: 150 }), undefined, 'another size than the header’s')
    const scans = (count: number) => attempt(jpegOfScans(count, 64), { width: 64, height: 64 })
    t.truthy(await scans(500))
    t.is(await scans(501), undefined, 'more scans than are read')
    for (let at = 2; at < 600; at += 7) {
      const hostile = Buffer.from(bytes)
      hostile[at]! ^= 0x5a
      await attempt(hostile)
    }
  },
)

unless(!decodesJpegs() && 'this build has no libjpeg-turbo')(
  'parts of JPEGs: come from files as from bytes; what is no file, or has changed, is left to the other decoder',
  async (t) => {
    const bytes = await files['4:2:0']!
    const picture = jpegSize(bytes)!
    const folder = await temporaryFolder()
    const file = join(folder, 'photo.jpg')
    await writeFile(file, bytes)
    const plan = trainingPlan(picture, 24, deit, {}, { seed: 4, epoch: 0, sample: 0 })
    const attempt = async (source: Uint8Array | string) => {
      const target = new Uint8Array(24 * 24 * 3)
      const options = { exact: true, verify: false, ...size(24) }
      return (await transformJpeg(source, picture, plan, options, target)) && target
    }
    same(t, await attempt(file), await attempt(bytes))
    for (const other of [join(folder, 'missing.jpg'), folder, '/dev/zero', `${file}\0`, join(folder, 'ä'.repeat(400))])
      t.is(await attempt(other), undefined, other)
    await writeFile(file, await files.progressive!)
    t.is(await attempt(file), undefined, 'of another size by now')
    await writeFile(file, '')
    t.is(await attempt(file), undefined)
    await t.throwsAsync(attempt(7 as unknown as string), { code: 'SHAPE' })
  },
)

unless(!decodesJpegs() && 'this build has no libjpeg-turbo')(
  'parts of JPEGs: that do not fit their plan are refused',
  async (t) => {
    const bytes = await files.tiny!
    const run = (plan: ImageOp[]) =>
      transformJpeg(bytes, jpegSize(bytes)!, plan, { exact: true, verify: true, ...size(4) }, new Uint8Array(48))
    await t.throwsAsync(run([]), { code: 'SHAPE', message: /instead of 4 x 4/ })
    await t.throwsAsync(run([{ op: 'resize', width: 4, height: 4, filter: 'bicubic', region: [0, 0, 6, 3] }]), {
      code: 'SHAPE',
    })
  },
)
