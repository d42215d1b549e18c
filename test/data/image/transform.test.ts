import { transformImages } from '../../../lib/data/image/operations.js'
import { evaluationPlan, isForDevice, regionShown, shiftOf, trainingPlan } from '../../../lib/data/image/transform.js'
import { goldenJson, goldenTensors } from '../../golden.js'
import { same } from '../../same.js'
import { test } from '../../serial.js'
import { deit, noise, shifted } from '../images.js'

const address = (sample: number, epoch = 0) => ({ seed: 5, epoch, sample })
const photo = { width: 50, height: 40 }

test('shifts lie in range, use all of it, and belong to (seed, epoch, sample)', (t) => {
  const seen = { top: new Map<number, number>(), left: new Map<number, number>(), flipped: new Map<number, number>() }
  for (let sample = 0; sample < 1000; sample++) {
    const shift = shiftOf(shifted, address(sample))
    t.deepEqual(shiftOf(shifted, address(sample)), shift)
    for (const key of ['top', 'left', 'flipped'] as const)
      seen[key].set(shift[key], (seen[key].get(shift[key]) ?? 0) + 1)
  }
  // Fair draws: 1000 samples, 5 offsets and 2 mirror images; five standard deviations are 63 and 79.
  for (const counts of [seen.top, seen.left]) {
    t.deepEqual([...counts.keys()].sort(), [0, 1, 2, 3, 4])
    for (const count of counts.values()) t.true(Math.abs(count - 200) < 63, `${count}`)
  }
  t.true(Math.abs(seen.flipped.get(1)! - 500) < 79)
  const other = Array.from({ length: 20 }, (_, sample) => shiftOf(shifted, address(sample, 1)))
  t.notDeepEqual(
    other,
    Array.from({ length: 20 }, (_, sample) => shiftOf(shifted, address(sample))),
  )
  t.deepEqual(shiftOf({ pad: 0, flip: false }, address(3)), { top: 0, left: 0, flipped: 0 })
})

test('the host shifts as the device would', async (t) => {
  const picture = { width: 6, height: 6, pixels: noise(108) }
  for (let sample = 0; sample < 20; sample++) {
    const { top, left, flipped } = shiftOf(shifted, address(sample))
    const wanted = new Uint8Array(108)
    for (let y = 0; y < 6; y++)
      for (let x = 0; x < 6; x++)
        for (let c = 0; c < 3; c++) {
          const [row, column] = [y + top - 2, (flipped ? 5 - x : x) + left - 2]
          const inside = row >= 0 && row < 6 && column >= 0 && column < 6
          wanted[3 * (6 * y + x) + c] = inside ? picture.pixels[3 * (6 * row + column) + c]! : 0
        }
    const target = new Uint8Array(108)
    await transformImages([picture], 3, [trainingPlan(picture, 6, shifted, {}, address(sample))], picture, target)
    same(t, target, wanted, `sample ${sample}`)
  }
})

test('a training plan takes a part, resizes it, mirrors half of the images and recolours', (t) => {
  let mirrored = 0
  for (let sample = 0; sample < 400; sample++) {
    const [crop, resize, ...rest] = trainingPlan(photo, 32, deit, {}, address(sample))
    if (crop?.op !== 'crop' || resize?.op !== 'resize') return t.fail('it crops, then resizes')
    t.true(crop.left >= 0 && crop.left + crop.width <= 50 && crop.top + crop.height <= 40)
    t.like(resize, { width: 32, height: 32, region: [0, 0, crop.width, crop.height] })
    if (rest[0]?.op === 'flip') mirrored++
  }
  t.true(Math.abs(mirrored - 200) < 50, `${mirrored}`)
})

test('the magnitude of a step replaces the recipe’s; what is cut out stays', (t) => {
  const factors = { weak: 0, strong: 0 }
  for (let sample = 0; sample < 300; sample++) {
    const plain = { ...deit, colorJitter: 0 }
    const weak = trainingPlan(photo, 32, plain, { magnitude: 1 }, address(sample))
    const strong = trainingPlan(photo, 32, plain, { magnitude: 9 }, address(sample))
    t.deepEqual(weak.slice(0, 2), strong.slice(0, 2))
    for (const op of weak) if ('factor' in op) factors.weak += Math.abs(op.factor - 1)
    for (const op of strong) if ('factor' in op) factors.strong += Math.abs(op.factor - 1)
  }
  t.true(factors.weak * 4 < factors.strong, JSON.stringify(factors))
})

test('evaluation plans are equal to Pillow’s results at every crop fraction of the fixtures', async (t) => {
  const golden = await goldenTensors('augment')
  const { crops } = await goldenJson<{
    crops: { tag: string; image: number; evaluation?: { size: number; cropFraction: number } }[]
  }>('augment')
  const fractions = new Set<number>()
  for (const { tag, image, evaluation } of crops) {
    if (evaluation === undefined) continue
    const { size, cropFraction: fraction } = evaluation
    fractions.add(fraction)
    const [height, width] = golden.shape(`image${image}`) as [number, number]
    const source = { pixels: golden.bytes(`image${image}`), height, width }
    const plan = evaluationPlan(source, size, { fraction, filter: 'bicubic' })
    const target = new Uint8Array(size * size * 3)
    await transformImages([source], 3, [plan], { height: size, width: size }, target)
    same(t, target, golden.bytes(`result/${tag}`), tag)
  }
  t.true(fractions.size >= 2)
})

test('a strip of any length and a single pixel become training and evaluation images', async (t) => {
  for (const [width, height] of [
    [30_000, 1],
    [1, 30_000],
    [1, 1],
    [2, 3000],
  ] as const) {
    const source = { pixels: new Uint8Array(width * height * 3).fill(90), width, height }
    for (const plan of [
      evaluationPlan(source, 16, { fraction: 0.875, filter: 'bicubic' }),
      trainingPlan(source, 16, { ...deit, randAugment: null, colorJitter: 0 }, {}, address(1)),
    ]) {
      const target = new Uint8Array(768)
      await transformImages([source], 3, [plan], { height: 16, width: 16 }, target)
      same(t, target, new Uint8Array(768).fill(90), `${width} x ${height}`)
    }
  }
})

test('the device does shifts alone', (t) => {
  t.is(isForDevice(shifted), true)
  t.is(isForDevice({ ...shifted, colorJitter: 0.1 }), false)
  t.is(isForDevice({ ...shifted, randAugment: deit.randAugment }), false)
  t.is(isForDevice({ ...shifted, crop: 'resized' }), false)
})

/** A picture whose first two channels tell where a pixel lies, as shares of the sides. */
function chart(width: number, height: number) {
  const pixels = new Uint8Array(width * height * 3)
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      pixels.set([(255 * (x + 0.5)) / width, (255 * (y + 0.5)) / height, 0], 3 * (y * width + x))
  return { width, height, pixels }
}

test('the region that a plan shows is where its pixels come from', async (t) => {
  const size = 32
  const plain = { ...deit, randAugment: null, colorJitter: 0 }
  for (const [width, height] of [
    [160, 120],
    [90, 200],
  ] as const) {
    const picture = chart(width, height)
    const plans = [
      ...Array.from({ length: 24 }, (_, sample) => trainingPlan(picture, size, plain, {}, address(sample))),
      ...Array.from({ length: 8 }, (_, sample) =>
        trainingPlan(picture, size, { ...plain, crop: 'pad', pad: 9 }, {}, address(sample)),
      ),
      evaluationPlan(picture, size, { fraction: 0.875, filter: 'bilinear' }),
      evaluationPlan(picture, size, { fraction: 1, filter: 'bilinear' }),
      evaluationPlan(picture, size, { fraction: 1, filter: 'bilinear', stretch: true }),
    ]
    for (const plan of plans) {
      const [left, top, right, bottom, mirrored] = regionShown(plan, picture)
      const target = new Uint8Array(size * size * 3)
      await transformImages([picture], 3, [plan], { width: size, height: size }, target)
      for (const [row, column] of [
        [8, 8],
        [8, 23],
        [23, 8],
        [16, 16],
      ] as const) {
        const across = ((mirrored ? size - 1 - column : column) + 0.5) / size
        const x = left + across * (right - left)
        const y = top + ((row + 0.5) / size) * (bottom - top)
        if (x < 0.05 || x > 0.95 || y < 0.05 || y > 0.95) continue // the padding is black
        const [red, green] = target.subarray(3 * (row * size + column))
        t.true(Math.abs(red! / 255 - x) < 0.015 && Math.abs(green! / 255 - y) < 0.015, `${x}, ${y}: ${red}, ${green}`)
      }
    }
  }
  t.deepEqual(regionShown([], photo), [0, 0, 1, 1, 0])
  const stretched = evaluationPlan(photo, 8, { fraction: 0.5, filter: 'bicubic', stretch: true })
  t.deepEqual(regionShown(stretched, photo), [0, 0, 1, 1, 0])
  // A mirror image that is cut and mirrored again.
  const crop = { op: 'crop', left: 0, top: 10, width: 20, height: 20 } as const
  t.deepEqual(regionShown([{ op: 'flip' }, crop], photo), [0.6, 0.25, 1, 0.75, 1])
  t.deepEqual(regionShown([{ op: 'flip' }, crop, { op: 'flip' }], photo), [0.6, 0.25, 1, 0.75, 0])
})
