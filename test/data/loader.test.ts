import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { transformImages } from '../../lib/data/image/operations.js'
import { trainingPlan } from '../../lib/data/image/transform.js'
import { type Batch, type BatchesOptions, createLoader, type LoaderOptions } from '../../lib/data/loader.js'
import type { Split } from '../../lib/data/source/dataset.js'
import { encodedSplit } from '../../lib/data/source/encoded.js'
import { inMemorySplit } from '../../lib/data/source/in-memory.js'
import { checkError } from '../error.js'
import { different, same } from '../same.js'
import { test } from '../serial.js'
import { deit, noise, picture, shifted, temporaryFolder } from './images.js'

const length = 23

function uniformSplit(): Split {
  return inMemorySplit({
    pixels: noise(length * 5 * 5 * 3),
    labels: Int32Array.from({ length }, (_, index) => index % 7),
    height: 5,
    width: 5,
    channels: 3,
    nameOf: (index) => `${index}`,
  })
}

/** Images of different sizes, so decoded on demand; those at `broken` cannot be. */
async function mixedSplit(broken: readonly number[] = []): Promise<Split> {
  const files = await Promise.all(Array.from({ length }, (_, seed) => picture({ seed, width: 8 + (seed % 3) })))
  for (const index of broken) files[index] = Buffer.from('rubbish')
  return encodedSplit({
    labels: Int32Array.from({ length }, (_, index) => index % 7),
    channels: 3,
    nameOf: (index) => `${index}.png`,
    fingerprint: async () => '',
    read: async (index) => files[index]!,
  })
}

const options: LoaderOptions = { batch: 5, seed: 1, shuffle: true, augmentation: shifted }

type Measured = 'waited' | 'decodeSeconds' | 'transformSeconds'

async function collect(t: ExecutionContext, batches: AsyncIterable<Batch>): Promise<Omit<Batch, Measured>[]> {
  const all: Omit<Batch, Measured>[] = []
  for await (const { waited, decodeSeconds, transformSeconds, ...batch } of batches) {
    t.true(waited >= 0 && decodeSeconds >= 0 && transformSeconds >= 0)
    all.push(batch)
  }
  return all
}

const run = (
  t: ExecutionContext,
  split: Split,
  given: Partial<LoaderOptions> = {},
  which: BatchesOptions = { steps: 12 },
) => collect(t, createLoader(split, { ...options, ...given }).batches({ sizeOf: () => 6, ...which }))

test('a batch of a uniform split is its images side by side, with their labels', async (t) => {
  const split = uniformSplit()
  for (const batch of await run(t, split)) {
    t.deepEqual([batch.height, batch.width, batch.channels, batch.images.length], [5, 5, 3, 5 * 75])
    t.deepEqual([batch.indices.length, batch.labels.length, batch.crops!.length], [5, 5, 15])
    batch.indices.forEach((index, i) => {
      same(t, batch.images.slice(i * 75, i * 75 + 75), split.pixels!(index).slice())
      t.is(batch.labels[i], index % 7)
    })
  }
})

test('a batch of a mixed split comes decoded at the size of its step', async (t) => {
  const split = await mixedSplit()
  const sizeOf = (step: number) => 4 + step
  for (const batch of await run(t, split, {}, { firstStep: 2, steps: 3, sizeOf })) {
    const size = 4 + batch.step
    t.deepEqual([batch.height, batch.width, batch.channels], [size, size, 3])
    const stride = size * size * 3
    for (const [i, index] of batch.indices.entries()) {
      const image = await split.load(index)
      const address = { seed: 1, epoch: Math.floor(batch.step / 4), sample: index }
      const wanted = new Uint8Array(stride)
      await transformImages([image], 3, [trainingPlan(image, size, shifted, {}, address)], batch, wanted)
      same(t, batch.images.slice(i * stride, (i + 1) * stride), wanted)
      t.is(batch.labels[i], index % 7)
    }
  }
})

test('every image comes once an epoch, those of the incomplete batch left out', async (t) => {
  const batches = await run(t, uniformSplit(), {}, { steps: 12 })
  t.deepEqual(
    batches.map(({ step }) => step),
    [...Array(12).keys()],
  )
  for (let epoch = 0; epoch < 3; epoch++) {
    const indices = batches.slice(epoch * 4, epoch * 4 + 4).flatMap((batch) => [...batch.indices])
    t.is(new Set(indices).size, 20)
  }
  const whole = await run(t, uniformSplit(), { dropLast: false }, { steps: 10 })
  for (const epoch of [whole.slice(0, 5), whole.slice(5)]) {
    const indices = epoch.flatMap((batch) => [...batch.indices])
    t.deepEqual(
      indices.sort((a, b) => a - b),
      [...Array(length).keys()],
    )
  }
})

test('the seed decides everything: the same one the same bytes, another one others', async (t) => {
  for (const split of [uniformSplit(), await mixedSplit()]) {
    const reference = await run(t, split)
    t.deepEqual(await run(t, split), reference)
    t.deepEqual(await run(t, split, { prefetch: 0 }), reference, 'prefetching changes nothing')
    const other = await run(t, split, { seed: 2 })
    different(
      t,
      other.map(({ indices }) => indices),
      reference.map(({ indices }) => indices),
    )
  }
})

test('batches are made in the memory that is given, whatever it holds', async (t) => {
  for (const [split, given] of [
    [uniformSplit(), {}],
    [uniformSplit(), { augmentation: deit }],
    [await mixedSplit([4]), { maxBroken: 0.1 }],
  ] as const) {
    const blocks: Uint8Array[] = []
    const allocate = (bytes: number) => {
      const block = new Uint8Array(bytes + 16).fill(77).subarray(8, bytes + 8)
      blocks.push(block)
      return block
    }
    const batches = await run(t, split, { ...given, allocate })
    t.true(batches.every(({ images }) => blocks.includes(images)))
    same(
      t,
      batches.map(({ images }) => images.slice()),
      (await run(t, split, given)).map(({ images }) => images),
    )
  }
})

test('resuming at a step is the tail of an uninterrupted run', async (t) => {
  for (const split of [uniformSplit(), await mixedSplit([4])]) {
    const reference = await run(t, split, { maxBroken: 0.1 })
    for (const firstStep of [1, 4, 7, 11]) {
      const resumed = await run(t, split, { maxBroken: 0.1 }, { firstStep, steps: 12 - firstStep })
      t.deepEqual(resumed, reference.slice(firstStep), `from step ${firstStep}`)
    }
  }
})

test('evaluation sees everything once, in order, as it is, the last partial batch included', async (t) => {
  for (const augmentation of [undefined, shifted]) {
    const loader = createLoader(uniformSplit(), { batch: 5, seed: 1, shuffle: false, augmentation })
    t.is(loader.stepsPerEpoch, 5)
    const batches = await collect(t, loader.batches())
    t.deepEqual(
      batches.flatMap(({ indices }) => [...indices]),
      [...Array(length).keys()],
    )
    t.deepEqual(
      batches.map(({ labels }) => labels.length),
      [5, 5, 5, 5, 3],
    )
    t.is(batches[4]!.images.length, 3 * 75)
    for (const { crops } of batches) t.is(crops, undefined)
  }
  const large = await run(t, uniformSplit(), { shuffle: false, batch: 500 }, {})
  t.deepEqual(
    large.map(({ indices }) => indices.length),
    [length],
  )
})

test('the fixed batches are the same at every call and unlike the training batches', async (t) => {
  for (const split of [uniformSplit(), await mixedSplit()]) {
    const loader = createLoader(split, options)
    const fixed = await collect(t, loader.fixedBatches(7, { sizeOf: () => 6 }))
    t.deepEqual(
      fixed.map(({ step }) => step),
      [0, 1, 2, 3, 4, 5, 6],
    )
    t.deepEqual(await collect(t, loader.fixedBatches(7, { sizeOf: () => 6 })), fixed)
    t.deepEqual(await collect(t, createLoader(split, options).fixedBatches(2, { sizeOf: () => 6 })), fixed.slice(0, 2))
    const training = await run(t, split, {}, { steps: 7 })
    different(
      t,
      fixed.map(({ indices }) => indices),
      training.map(({ indices }) => indices),
    )
    t.is(new Set(fixed.slice(0, 4).flatMap(({ indices }) => [...indices])).size, 20)
  }
})

test('a broken image is replaced, label and index following, told once, and fails the run above the share', async (t) => {
  const split = await mixedSplit([4, 11])
  const told: string[] = []
  const batches = await run(t, split, { maxBroken: 0.1, onBroken: (message) => told.push(message) })
  const good = await run(t, await mixedSplit())
  batches.forEach((batch, step) => {
    batch.indices.forEach((index, i) => {
      const drawn = good[step]!.indices[i]!
      t.is(index, drawn === 4 ? 18 : drawn === 11 ? 18 : drawn) // 4, 11 and 18 are of class 4
      t.is(batch.labels[i], index % 7)
    })
    same(t, batch.crops, good[step]!.crops)
  })
  t.deepEqual(told.map((message) => message.slice(0, 29)).sort(), [
    'Cannot read the image 11.png:',
    'Cannot read the image 4.png: ',
  ])
  const refused = { code: 'DATA', message: /^1 of 23 images are broken: (4|11)\.png: / }
  await t.throwsAsync(run(t, split, { maxBroken: 0 }), refused)
  const rubbish = await mixedSplit([...Array(length).keys()])
  await t.throwsAsync(run(t, rubbish, { maxBroken: 1 }), { code: 'DATA', message: /None of the 23 images/ })
})

test('wrong options are refused before any work', async (t) => {
  const split = uniformSplit()
  const wrong: [Partial<LoaderOptions>, RegExp][] = [
    [{ batch: 24 }, /at most the 23 images of the split for batch but received 24/],
    [{ batch: 0 }, /a positive integer for batch/],
    [{ batch: 2.5 }, /a positive integer for batch/],
    [{ seed: -1 }, /seed/],
    [{ augmentation: { ...shifted, pad: -1 } }, /pad/],
    [{ repeats: 0 }, /repeats/],
    [{ workers: 1.5 }, /workers/],
    [{ prefetch: Number.NaN }, /prefetch/],
    [{ maxBroken: -1 }, /maxBroken/],
  ]
  for (const [given, message] of wrong) {
    t.throws(() => createLoader(split, { ...options, ...given }), { code: 'CONFIG', message })
  }
  checkError(
    t,
    t.throws(() => createLoader(split, { ...options, batch: 24 })),
    { hint: 'use a batch of 23 or less' },
  )
  const loader = createLoader(split, options)
  t.throws(() => loader.batches({ firstStep: -1 }), { code: 'CONFIG', message: /firstStep/ })
  t.throws(() => loader.batches({ steps: 0.5 }), { code: 'CONFIG', message: /steps/ })
  t.throws(() => loader.fixedBatches(-2), { code: 'CONFIG', message: /fixed batches/ })
  const mixed = await mixedSplit()
  await t.throwsAsync(run(t, mixed, {}, { steps: 1, sizeOf: () => undefined }), {
    code: 'CONFIG',
    message: /image size for step 0/,
  })
  await t.throwsAsync(run(t, mixed, {}, { steps: 1, sizeOf: () => 0 }), {
    code: 'CONFIG',
    message: /image size of step 0/,
  })
})

test('an abort ends a run with the signal’s reason, decoding included', async (t) => {
  const reason = new Error('interrupted')
  for (const split of [uniformSplit(), await mixedSplit()]) {
    const controller = new AbortController()
    let seen = 0
    await t.throwsAsync(
      async () => {
        const batches = createLoader(split, options).batches({ sizeOf: () => 64, signal: controller.signal })
        for await (const _ of batches) if (++seen === 3) controller.abort(reason)
      },
      { is: reason },
    )
    t.is(seen, 3)
  }
})

test('gathering large batches leaves the event loop free', async (t) => {
  const images = 600
  const large = inMemorySplit({
    pixels: new Uint8Array(images * 160 * 160 * 3),
    labels: new Int32Array(images),
    height: 160,
    width: 160,
    channels: 3,
    nameOf: String,
  })
  let turns = 0
  let counting = true
  const count = () => {
    turns += 1
    if (counting) setImmediate(count)
  }
  setImmediate(count)
  // 256 images of 77 kB make 20 MB, which is four pauses of the copying; preparing a batch has one of its own.
  for await (const _ of createLoader(large, { ...options, batch: 256, prefetch: 0 }).batches({ steps: 1 }))
    counting = false
  t.true(turns >= 4, `the event loop turned ${turns} times`)
})

/** What a loader hands out, byte by byte: pixels, labels, and the boxes to erase. */
function digest(batches: readonly Omit<Batch, Measured>[]): string[] {
  return batches.map(({ images, labels, erase }) =>
    createHash('sha256')
      .update(images)
      .update(new Uint8Array(labels.buffer))
      .update(new Uint8Array(erase!.buffer))
      .digest('hex'),
  )
}

test('the first 1,000 pictures are the same with 1, 2 and 4 workers and after a resume, with all of DeiT’s augmentation', async (t) => {
  const strengthOf = (step: number) => ({ magnitude: step < 100 ? 5 : 9, erasing: 0.25 })
  for (const split of [uniformSplit(), await mixedSplit([4])]) {
    const options = { augmentation: deit, repeats: 3, maxBroken: 0.1 }
    const which = { steps: 200, sizeOf: (step: number) => 8 + (step % 3), strengthOf }
    const reference = digest(await run(t, split, { ...options, workers: 1 }, which))
    t.is(new Set(reference).size, 200)
    for (const workers of [2, 4]) t.deepEqual(digest(await run(t, split, { ...options, workers }, which)), reference)
    const resumed = await run(t, split, options, { ...which, firstStep: 77, steps: 123 })
    t.deepEqual(digest(resumed), reference.slice(77))
  }
})

test('images repeated in a batch are augmented anew each time', async (t) => {
  const [batch] = await run(
    t,
    uniformSplit(),
    { batch: 6, augmentation: deit, repeats: 3 },
    { steps: 1, sizeOf: () => 8 },
  )
  const { indices, images } = batch!
  t.deepEqual([indices[1], indices[2], indices[4], indices[5]], [indices[0], indices[0], indices[3], indices[3]])
  const pictures = [...indices].map((_, i) => Buffer.from(images.subarray(i * 192, (i + 1) * 192)).toString('hex'))
  t.is(new Set(pictures).size, 6)
})

test('boxes to erase come with the strength asked for, and only then', async (t) => {
  const batches = await run(
    t,
    uniformSplit(),
    {},
    { steps: 80, sizeOf: () => 32, strengthOf: () => ({ erasing: 0.5 }) },
  )
  const heights = batches.flatMap(({ erase }) => [...erase!].filter((_, i) => i % 4 === 2))
  const erased = heights.filter((height) => height > 0).length
  t.true(Math.abs(erased - 200) < 60, `${erased} of ${heights.length}`)
  const none = await run(t, uniformSplit(), {}, { steps: 1, strengthOf: () => ({ erasing: 0 }) })
  t.is(none[0]!.erase, undefined)
})

test('JPEGs of which parts are decoded give the same batches as whole ones', async (t) => {
  const files = await Promise.all(
    Array.from({ length }, (_, seed) => picture({ seed, width: 40 + seed, height: 36, format: 'jpeg' })),
  )
  const split = encodedSplit({
    labels: Int32Array.from({ length }, (_, index) => index % 7),
    channels: 3,
    nameOf: (index) => `${index}.jpg`,
    fingerprint: async () => '',
    read: async (index) => (index === 4 ? files[index]!.subarray(0, 900) : files[index]!),
  })
  const folder = await temporaryFolder()
  await Promise.all(files.map((file, index) => writeFile(join(folder, `${index}.jpg`), file)))
  const given = { augmentation: { ...deit, exact: true }, maxBroken: 0.1 }
  const parts = await run(t, split, given, { steps: 12, sizeOf: () => 16 })
  const { read: _, ...whole } = split
  t.deepEqual(parts, await run(t, whole, given, { steps: 12, sizeOf: () => 16 }))
  const inFiles = { ...split, fileOf: (index: number) => (index === 4 ? undefined : join(folder, `${index}.jpg`)) }
  t.deepEqual(parts, await run(t, inFiles, given, { steps: 12, sizeOf: () => 16 }))
  t.true(parts.every(({ indices }) => !indices.includes(4)))
})

test('regions tell what each image shows: of shifts on the device and on the host, and of parts', async (t) => {
  const split = uniformSplit()
  for (const batch of await run(t, split, { regions: true })) {
    const wanted = [...batch.indices].flatMap((_, i) => {
      const [top, left, flip] = batch.crops!.subarray(3 * i)
      return [(left! - 2) / 5, (top! - 2) / 5, (left! + 3) / 5, (top! + 3) / 5, flip!]
    })
    same(t, batch.regions, Float32Array.from(wanted))
  }
  // Both halves of the same shifts: the device's and the host's.
  const jittered = { ...shifted, colorJitter: 0.1 }
  const host = await run(t, split, { regions: true, augmentation: jittered })
  const device = await run(t, split, { regions: true })
  for (const [step, { regions }] of host.entries())
    regions!.forEach((value, i) => void t.true(Math.abs(value - device[step]!.regions![i]!) < 1e-6))
  for (const batch of await run(t, await mixedSplit([4]), { regions: true, augmentation: deit, maxBroken: 0.1 })) {
    t.is(batch.regions!.length, 25)
    for (let i = 0; i < 25; i += 5) {
      const [left, top, right, bottom] = batch.regions!.subarray(i)
      t.true(left! >= 0 && top! >= 0 && left! < right! && top! < bottom! && right! <= 1 && bottom! <= 1)
    }
  }
  const [evaluated] = await run(t, split, { regions: true, shuffle: false }, {})
  t.deepEqual([...evaluated!.regions!.subarray(0, 5)], [0, 0, 1, 1, 0])
  t.is((await run(t, split))[0]!.regions, undefined)
})
