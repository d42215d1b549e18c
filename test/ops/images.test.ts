import type { ExecutionContext } from 'ava'
import { normalizeImages } from '../../lib/ops/index.js'
import { draw, Purpose } from '../../lib/random.js'
import { openTestDevice } from '../device.js'
import { assertClose } from '../golden.js'
import { test } from '../serial.js'
import { runCase } from './harness.js'

const device = await openTestDevice()
test.after.always(() => device.close())

interface Shape {
  batch: number
  height: number
  width: number
  channels: 1 | 3
}
interface Target {
  height: number
  width: number
  pad: number
}

const mean = [0.4, 0.5, 0.6]
const deviation = [0.2, 0.25, 0.3]

async function run(
  t: ExecutionContext,
  images: Uint8Array,
  { batch, height, width, channels }: Shape,
  crops: number[],
  target: Target,
): Promise<Float32Array> {
  const { outputs } = await runCase(t, device, {
    name: 'images',
    inputs: {
      images: { shape: [batch, height, width, channels], values: images },
      crops: { shape: [batch, 3], values: Int32Array.from(crops) },
    },
    build: (graph, inputs) => ({
      y: normalizeImages(graph, inputs.images!, inputs.crops!, {
        ...target,
        mean: mean.slice(0, channels),
        deviation: deviation.slice(0, channels),
      }),
    }),
  })
  return outputs.y!
}

/** The same in doubles, written from the definition: a triangle filter over source pixels, as wide as the scale. */
function reference(
  images: Uint8Array,
  { batch, height, width, channels }: Shape,
  crops: number[],
  target: Target,
): number[] {
  const result: number[] = []
  const weights = (i: number, from: number, to: number) => {
    const scale = from / to
    const list = Array.from({ length: from }, (_, j) =>
      Math.max(0, 1 - Math.abs((j + 0.5 - (i + 0.5) * scale) / Math.max(1, scale))),
    )
    const sum = list.reduce((a, b) => a + b, 0)
    return list.map((weight) => weight / sum)
  }
  for (let b = 0; b < batch; b++) {
    const [top, left, flip] = crops.slice(3 * b, 3 * b + 3) as [number, number, number]
    const pixel = (y: number, x: number, c: number) => {
      const sourceY = top - target.pad + y
      const sourceX = left - target.pad + (flip ? width - 1 - x : x)
      const inside = sourceY >= 0 && sourceY < height && sourceX >= 0 && sourceX < width
      const value = inside ? images[((b * height + sourceY) * width + sourceX) * channels + c]! : 0
      return (value / 255 - mean[c]!) / deviation[c]!
    }
    for (let i = 0; i < target.height; i++)
      for (let j = 0; j < target.width; j++)
        for (let c = 0; c < channels; c++) {
          let sum = 0
          weights(i, height, target.height).forEach((wy, y) => {
            if (wy > 0)
              weights(j, width, target.width).forEach((wx, x) => {
                if (wx > 0) sum += wy * wx * pixel(y, x, c)
              })
          })
          result.push(sum)
        }
  }
  return result
}

const noise = ({ batch, height, width, channels }: Shape) =>
  Uint8Array.from(
    { length: batch * height * width * channels },
    (_, index) => draw(1, Purpose.augmentation, 0, index)[0] & 255,
  )

const shape: Shape = { batch: 3, height: 7, width: 6, channels: 3 }
const crops = [2, 2, 0, 0, 3, 1, 4, 1, 0]
for (const [height, width] of [
  [7, 6],
  [14, 12],
  [5, 4],
  [16, 3],
  [1, 1],
] as const)
  test(`images: crop, flip and resize to ${height} x ${width} follow the definition`, async (t) => {
    const target = { height, width, pad: 2 }
    const images = noise(shape)
    assertClose(t, await run(t, images, shape, crops, target), reference(images, shape, crops, target), 1e-5, 'y')
  })

test('images: a constant image stays constant at any size', async (t) => {
  const grey: Shape = { batch: 1, height: 5, width: 5, channels: 1 }
  for (const size of [1, 2, 3, 5, 8, 13]) {
    const y = await run(t, new Uint8Array(25).fill(51), grey, [0, 0, 0], { height: size, width: size, pad: 0 })
    assertClose(t, y, Array<number>(size * size).fill((0.2 - 0.4) / 0.2), 1e-6, `${size}`)
  }
})

test('images: crops far outside of the image are padding, not a read out of bounds', async (t) => {
  const grey: Shape = { batch: 2, height: 4, width: 4, channels: 1 }
  const y = await run(t, new Uint8Array(32).fill(200), grey, [2 ** 30, -(2 ** 30), 0, -100, 100, 1], {
    height: 4,
    width: 4,
    pad: 1,
  })
  assertClose(t, y, Array<number>(32).fill(-2), 1e-6, 'y')
})
