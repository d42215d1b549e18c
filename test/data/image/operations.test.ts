import { Worker } from 'node:worker_threads'
import type { ExecutionContext } from 'ava'
import { drawsOf, Use } from '../../../lib/data/image/draws.js'
import { type Filter, type ImageOp, transformImages } from '../../../lib/data/image/operations.js'
import { colorJitter, operations, randAugment } from '../../../lib/data/image/rand-augment.js'
import { goldenJson, goldenTensors } from '../../golden.js'
import { same } from '../../same.js'
import { test } from '../../serial.js'

interface GoldenOperation {
  tag: string
  operation: string
  level: number
  arguments: number[]
  image: number
  resample: Filter | null
}
interface GoldenCrop {
  tag: string
  image: number
  box?: { left: number; top: number; width: number; height: number }
  size?: number
  evaluation?: { size: number; resized: [number, number]; top: number; left: number }
}
const golden = await goldenJson<{
  fill: [number, number, number]
  operations: GoldenOperation[]
  levels: { operation: string; negative: boolean; levels: number[]; arguments: number[][] }[]
  crops: GoldenCrop[]
}>('augment')
const tensors = await goldenTensors('augment')

function picture(image: number) {
  const [height, width] = tensors.shape(`image${image}`) as [number, number]
  return { pixels: tensors.bytes(`image${image}`), height, width }
}
type Picture = ReturnType<typeof picture>

async function transformed(
  source: Picture,
  plan: readonly ImageOp[],
  size = { height: source.height, width: source.width },
) {
  const target = new Uint8Array(size.height * size.width * 3)
  await transformImages([source], 3, [plan], size, target)
  return target
}

function largestDifference(t: ExecutionContext, a: Uint8Array, b: Uint8Array): number {
  t.is(a.length, b.length)
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0)
}

const settings = (image: Picture, filter: Filter) => ({
  width: image.width,
  height: image.height,
  filter,
  fill: golden.fill,
})

test('every operation of RandAugment is equal to Pillow’s', async (t) => {
  const differences = new Map<string, number>()
  for (const { tag, operation, level, image, resample, ...rest } of golden.operations) {
    const source = picture(image)
    const known = operations.find(({ name }) => name === operation)
    const sign = tag.split('/')[2] === '-' ? -1 : 1
    const [pixels] = rest.arguments
    const translation: ImageOp = {
      op: 'affine',
      matrix: operation === 'TranslateX' ? [1, 0, pixels!, 0, 1, 0] : [1, 0, 0, 0, 1, pixels!],
      filter: resample!,
      fill: golden.fill,
    }
    const op = known?.make(level / 10, sign, settings(source, resample ?? 'bicubic')) ?? translation
    const difference = largestDifference(t, await transformed(source, [op]), tensors.bytes(`result/${tag}`))
    differences.set(operation, Math.max(differences.get(operation) ?? 0, difference))
  }
  t.is(differences.size, 17)
  for (const [operation, difference] of differences) t.is(difference, 0, operation)
})

test('levels become the arguments that timm makes of them', (t) => {
  const argumentOf = (op: ImageOp): number[] => {
    switch (op.op) {
      case 'posterize':
        return [op.bits]
      case 'solarize':
        return [op.threshold]
      case 'solarizeAdd':
        return [op.addition]
      case 'color':
      case 'contrast':
      case 'brightness':
      case 'sharpness':
        return [op.factor]
      case 'affine': {
        const [a, b, c, d, , f] = op.matrix
        const degrees = (Math.atan2(d, a) * 180) / Math.PI // of an output direction, clockwise in image coordinates
        if (a !== 1) return [degrees]
        return [b + c + d + f]
      }
      default:
        return []
    }
  }
  let compared = 0
  for (const { operation, negative, levels, ...rest } of golden.levels) {
    const known = operations.find(({ name }) => name === operation)
    if (known === undefined) continue
    t.is(known.signed || !negative, true, operation)
    levels.forEach((level, i) => {
      const size = { width: 1, height: 1, filter: 'bicubic', fill: golden.fill } as const
      const made = argumentOf(known.make(level / 10, negative ? -1 : 1, size))
      t.is(made.length, rest.arguments[i]!.length, operation)
      made.forEach((value, j) => {
        t.true(Math.abs(value - rest.arguments[i]![j]!) < 1e-9, `${operation} ${level}: ${value}`)
        compared++
      })
    })
  }
  t.true(compared > 400)
})

test('crops and evaluation transforms are equal to Pillow’s', async (t) => {
  for (const { tag, image, box, size, evaluation } of golden.crops) {
    const source = picture(image)
    const wanted = tensors.bytes(`result/${tag}`)
    if (box !== undefined) {
      const region = [0, 0, box.width, box.height] as const
      const plan: ImageOp[] = [
        { op: 'crop', ...box },
        { op: 'resize', width: size!, height: size!, filter: 'bicubic', region },
      ]
      t.is(largestDifference(t, await transformed(source, plan, { height: size!, width: size! }), wanted), 0, tag)
    } else {
      const { size: side, resized, top, left } = evaluation!
      const region = [0, 0, source.width, source.height] as const
      const plan: ImageOp[] = [
        { op: 'resize', height: resized[0], width: resized[1], filter: 'bicubic', region },
        { op: 'crop', left, top, width: side, height: side },
      ]
      t.is(largestDifference(t, await transformed(source, plan, { height: side, width: side }), wanted), 0, tag)
    }
  }
})

test('operations that undo each other give the image back, in one channel as in three', async (t) => {
  const source = picture(0)
  const { pixels, height, width } = source
  const whole = [0, 0, width, height] as const
  const nothing: ImageOp[][] = [
    [],
    [{ op: 'flip' }, { op: 'flip' }],
    [{ op: 'invert' }, { op: 'invert' }],
    [{ op: 'resize', width, height, filter: 'bicubic', region: whole }],
    [{ op: 'affine', matrix: [1, 0, 0, 0, 1, 0], filter: 'bicubic', fill: [1, 2, 3] }],
    [
      { op: 'sharpness', factor: 1 },
      { op: 'contrast', factor: 1 },
      { op: 'brightness', factor: 1 },
    ],
    [
      { op: 'crop', left: -5, top: -3, width: width + 9, height: height + 4 },
      { op: 'crop', left: 5, top: 3, width, height },
    ],
    [
      { op: 'posterize', bits: 8 },
      { op: 'solarize', threshold: 256 },
      { op: 'solarizeAdd', addition: 0 },
    ],
  ]
  for (const plan of nothing) {
    same(t, await transformed(source, plan), pixels, JSON.stringify(plan))
    const grey = { pixels: pixels.subarray(0, height * width), height, width }
    const target = new Uint8Array(height * width)
    await transformImages([grey], 1, [plan], grey, target)
    same(t, target, grey.pixels, `one channel: ${JSON.stringify(plan)}`)
  }
})

test('a grey picture fares as its copy in three channels', async (t) => {
  const source = picture(3)
  const grey = { ...source, pixels: source.pixels.filter((_, i) => i % 3 === 0) }
  const copied = { ...source, pixels: Uint8Array.from(source.pixels, (_, i) => grey.pixels[Math.floor(i / 3)]!) }
  const region = [3.5, 2.25, source.width - 4, source.height - 1.5] as const
  for (const { name, make } of operations) {
    const plan: ImageOp[] = [
      make(0.7, -1, { ...settings(source, 'bilinear'), fill: [9, 9, 9] }),
      { op: 'resize', width: 31, height: 17, filter: 'bilinear', region },
      { op: 'flip' },
    ]
    const size = { height: 17, width: 31 }
    const one = new Uint8Array(17 * 31)
    const three = new Uint8Array(17 * 31 * 3)
    await transformImages([grey], 1, [plan], size, one)
    await transformImages([copied], 3, [plan], size, three)
    same(
      t,
      one,
      three.filter((_, i) => i % 3 === 1),
      name,
    )
  }
})

test('images too small for a filter, very tall, and of one pixel are scaled without reading outside', async (t) => {
  const region = (width: number, height: number) => [0, 0, width, height] as const
  for (const [width, height] of [
    [1, 1],
    [2, 1],
    [1, 500],
    [500, 1],
    [3, 400],
  ] as const) {
    const source = { pixels: new Uint8Array(width * height * 3).fill(77), width, height }
    const plan: ImageOp[] = [
      { op: 'sharpness', factor: 1.9 },
      { op: 'resize', width: 7, height: 7, filter: 'bicubic', region: region(width, height) },
      { op: 'equalize' },
      { op: 'autoContrast' },
    ]
    same(t, await transformed(source, plan, { height: 7, width: 7 }), new Uint8Array(147).fill(77))
  }
})

test('results lie where they are asked for, several images at once', async (t) => {
  const [first, second] = [picture(2), picture(2)]
  const target = new Uint8Array(2 * first.pixels.length + 20).fill(5)
  await transformImages([first, second], 3, [[], [{ op: 'flip' }]], first, target, 10)
  same(t, target.subarray(10, 10 + first.pixels.length), first.pixels)
  same(t, target.subarray(10 + first.pixels.length, -10), await transformed(second, [{ op: 'flip' }]))
  t.true([...target.subarray(0, 10), ...target.subarray(-10)].every((value) => value === 5))
})

test('plans, sources and targets that do not fit are refused', async (t) => {
  const source = picture(0)
  const run = (plan: unknown[], target = new Uint8Array(source.pixels.length), from: unknown = source) =>
    transformImages([from as Picture], 3, [plan as ImageOp[]], source, target)
  const shape = { code: 'SHAPE' }
  const { width, height } = source
  await t.throwsAsync(run([{ op: 'swirl' }]), shape)
  await t.throwsAsync(run([{ op: 'crop', left: 0.5, top: 0, width, height }]), shape)
  await t.throwsAsync(run([{ op: 'crop', left: 0, top: 0, width: width - 1, height }]), {
    message: /instead of 48 x 64/,
  })
  await t.throwsAsync(
    run([{ op: 'resize', width, height, filter: 'bicubic', region: [0, 0, width + 1, height] }]),
    shape,
  )
  await t.throwsAsync(run([{ op: 'resize', width, height, filter: 'lanczos', region: [0, 0, width, height] }]), shape)
  await t.throwsAsync(run([{ op: 'resize', width, height, filter: 'bicubic', region: [5, 0, 5, height] }]), shape)
  await t.throwsAsync(run([{ op: 'color', factor: Number.NaN }]), shape)
  await t.throwsAsync(run([{ op: 'brightness' }]), shape)
  await t.throwsAsync(run([{ op: 'posterize', bits: 9 }]), shape)
  await t.throwsAsync(run([{ op: 'crop', left: 0, top: 0, width: 65536, height: 65536 }]), { message: /too large/ })
  await t.throwsAsync(run([], new Uint8Array(source.pixels.length - 1)), { message: /no room/ })
  await t.throwsAsync(run([], undefined, { ...source, pixels: source.pixels.subarray(1) }), shape)
  await t.throwsAsync(run([], undefined, { ...source, pixels: new Float32Array(source.pixels) }), shape)
  await t.throwsAsync(run([], undefined, null), shape)
})

test('a thread that ends with images under way ends well', async (t) => {
  const module = new URL('../../../lib/data/image/operations.ts', import.meta.url).href
  const code = `
    import('tsx/esm/api').then(({ register }) => { // a worker does not inherit the loader of TypeScript
      register()
      return import(${JSON.stringify(module)})
    }).then(({ transformImages }) => {
      const source = { pixels: new Uint8Array(3e6), width: 1000, height: 1000 }
      const op = { op: 'affine', matrix: [1, 0.1, 0, 0.1, 1, 0], filter: 'bicubic', fill: [0, 0, 0] }
      for (let i = 0; i < 8; i++) transformImages([source], 3, [[op, op]], source, new Uint8Array(3e6))
      process.exit(7)
    })`
  const worker = new Worker(code, { eval: true })
  const exit = await new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject))
  t.is(exit, 7)
})

test('RandAugment draws each operation as often, at the magnitude asked for', (t) => {
  const drawn = new Map<string, number>()
  let [total, factors, count] = [0, 0, 0]
  const image = { width: 32, height: 32, filter: 'bicubic', fill: golden.fill } as const
  for (let sample = 0; sample < 6000; sample++) {
    const draws = drawsOf({ seed: 3, epoch: 0, sample }, Use.recolour)
    for (const op of randAugment({ magnitude: 9, deviation: 0.5, layers: 2 }, image, draws)) {
      total++
      drawn.set(op.op, (drawn.get(op.op) ?? 0) + 1)
      if (op.op === 'contrast') {
        factors += Math.abs(op.factor - 1)
        count++
      }
    }
  }
  t.true(Math.abs(total - 6000) < 200, `${total} operations`)
  for (const [op, times] of drawn) t.true(Math.abs(times - (op === 'affine' ? 5 : 1) * 400) < 160, `${op}: ${times}`)
  t.true(Math.abs(factors / count - 0.81) < 0.01, `${factors / count}`)
})

test('colour jitter draws every order', (t) => {
  const orders = new Set<string>()
  for (let sample = 0; sample < 200; sample++) {
    const plan = colorJitter(0.3, drawsOf({ seed: 4, epoch: 0, sample }, Use.recolour))
    orders.add(plan.map(({ op }) => op).join())
    for (const op of plan) t.true('factor' in op && op.factor >= 0.7 && op.factor < 1.3)
  }
  t.is(orders.size, 6)
})
