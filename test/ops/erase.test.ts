import type { ExecutionContext } from 'ava'
import { eraseImages } from '../../lib/ops/index.js'
import { draw, Purpose, toUnit } from '../../lib/random.js'
import { openTestDevice } from '../device.js'
import { assertClose } from '../golden.js'
import { same } from '../same.js'
import { test } from '../serial.js'
import { randomValues, runCase } from './harness.js'

const device = await openTestDevice()
test.after.always(() => device.close())

interface Address {
  seed: number
  step: number
  index: number[]
}

const halves = (value: number) => [value | 0, Math.floor(value / 2 ** 32) | 0]

async function run(
  t: ExecutionContext,
  images: Float32Array,
  shape: readonly number[],
  boxes: number[],
  { seed, step, index }: Address,
): Promise<Float32Array> {
  const { outputs } = await runCase(t, device, {
    name: 'eraseImages',
    inputs: {
      images: { shape, values: images },
      boxes: { shape: [shape[0]!, 4], values: Int32Array.from(boxes) },
      random: { shape: [4], values: Int32Array.from([...halves(seed), ...halves(step)]) },
      index: { shape: [shape[0]!], values: Int32Array.from(index) },
    },
    build: (graph, inputs) => ({
      y: eraseImages(graph, inputs.images!, inputs.boxes!, inputs.random!, inputs.index!),
    }),
  })
  return outputs.y!
}

/** Value k of an image: Box and Muller's pairs of block k / 4, in doubles. */
function noise({ seed, step }: Address, block: number, k: number): number {
  const words = draw(seed, Purpose.erasing, step, block + Math.floor(k / 4))
  const pair = (k % 4) - (k % 2)
  const radius = Math.sqrt(-2 * Math.log(toUnit(words[pair]!) + 2 ** -24))
  const angle = 2 * Math.PI * toUnit(words[pair + 1]!)
  return radius * (k % 2 === 0 ? Math.cos(angle) : Math.sin(angle))
}

function reference(images: Float32Array, shape: readonly number[], boxes: number[], address: Address): number[] {
  const [, height, width, channels] = shape as [number, number, number, number]
  const size = height * width * channels
  return Array.from(images, (value, at) => {
    const image = Math.floor(at / size)
    const k = at % size
    const [row, column] = [Math.floor(k / (width * channels)), Math.floor(k / channels) % width]
    const [top, left, boxHeight, boxWidth] = boxes.slice(4 * image, 4 * image + 4) as [number, number, number, number]
    const inside = row >= top && row < top + boxHeight && column >= left && column < left + boxWidth
    return inside ? noise(address, address.index[image]! * Math.ceil(size / 4), k) : value
  })
}

const largest = 2 ** 31 - 1
const boxes = {
  inside: [1, 2, 3, 4, 0, 0, 1, 1, 2, 1, 2, 3],
  'at the edges': [0, 0, 1, 7, 4, 0, 1, 7, 0, 6, 5, 1],
  'the whole image': [0, 0, 5, 7, 0, 0, 5, 7, 0, 0, 0, 0],
  nothing: [0, 0, 0, 5, 3, 3, 2, 0, 9, 9, 0, 0],
  'beyond the image': [-2, -3, 4, 5, 3, 5, 100, 100, 50, 60, 3, 3],
  'as far as numbers go': [
    largest,
    largest,
    largest,
    largest,
    -largest,
    -largest,
    largest,
    largest,
    0,
    1,
    largest,
    largest,
  ],
  'of negative size': [2, 2, -1, 3, 2, 2, 3, -1, 4, 4, -largest, -largest],
}
const shapes = [
  [3, 5, 7, 3], // 105 values: blocks of four end between images
  [3, 5, 7, 1],
  [3, 5, 8, 3],
  [3, 6, 7, 2],
]
for (const [name, list] of Object.entries(boxes))
  test(`eraseImages follows its definition: ${name}`, async (t) => {
    for (const shape of shapes) {
      const images = randomValues(shape, 4)
      const address = { seed: 2 ** 33 + 5, step: 2 ** 32 + 1234, index: [0, 31, 7] }
      const wanted = reference(images, shape, list, address)
      const y = await run(t, images, shape, list, address)
      assertClose(t, y, wanted, 1e-6, `${shape}`)
      // What is not erased is the image's own, bit by bit.
      for (const [at, value] of wanted.entries()) if (value === images[at]) t.is(y[at], value)
      if (name === 'nothing') same(t, y, images)
    }
  })

test('the noise is normal, and no two images, steps or seeds share it', async (t) => {
  const shape = [4, 48, 48, 3]
  const count = 48 * 48 * 3
  const images = new Float32Array(4 * count)
  const whole = Array.from({ length: 4 }, () => [0, 0, 48, 48]).flat()
  const address = { seed: 1, step: 2, index: [0, 1, 2, 3] }
  const y = await run(t, images, shape, whole, address)
  // n = 27,648: the mean deviates by 0.006, the variance by 0.0085, the fourth moment (3) by 0.06, correlations by 0.006.
  const mean = (power: number) => y.reduce((sum, value) => sum + value ** power, 0) / y.length
  t.true(Math.abs(mean(1)) < 0.025, `mean ${mean(1)}`)
  t.true(Math.abs(mean(2) - 1) < 0.035, `variance ${mean(2)}`)
  t.true(Math.abs(mean(3)) < 0.1, `third moment ${mean(3)}`)
  t.true(Math.abs(mean(4) - 3) < 0.25, `fourth moment ${mean(4)}`)
  t.true(y.every((value) => Math.abs(value) < 6))
  const correlation = (a: Float32Array, b: Float32Array) =>
    a.reduce((sum, value, at) => sum + value * b[at]!, 0) / Math.min(a.length, b.length)
  for (const lag of [1, 2, 3, 4, 48 * 3, count]) {
    const shifted = correlation(y.subarray(0, y.length - lag), y.subarray(lag))
    t.true(Math.abs(shifted) < 0.03, `lag ${lag}: ${shifted}`)
  }
  for (const other of [
    { ...address, step: 3 },
    { ...address, seed: 2 },
  ]) {
    const apart = correlation(y, await run(t, images, shape, whole, other))
    t.true(Math.abs(apart) < 0.025, `${apart}`)
  }
  same(t, await run(t, images, shape, whole, address), y)
  // Wherever in a micro-batch an image lies, its noise is that of its place in the batch.
  const moved = await run(t, images, shape, whole, { ...address, index: [3, 2, 0, 1] })
  for (const [at, from] of [3, 2, 0, 1].entries())
    same(t, moved.slice(at * count, (at + 1) * count), y.slice(from * count, (from + 1) * count))
})
