import { createModel } from '../../lib/models/registry.js'
import { draw, Purpose, toUnit } from '../../lib/random.js'
import type { LossScaleOptions } from '../../lib/session/options.js'
import type { Precision } from '../../lib/session/request.js'
import type { Session } from '../../lib/session/session.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'

export const device = await openTestDevice()

const configuration = {
  imageSize: 16,
  patchSize: 8,
  embedDim: 24,
  depth: 2,
  heads: 2,
  channels: 1,
  classes: 4,
} as const
const seedOf = (index: number) => draw(7, Purpose.initialization, 1, index)

/** Four classes of images: stripes across or upright, of one pixel or two, in noise. */
export function batchOf(step: number, size = 16) {
  const data = new Uint8Array(size * 256)
  const targets = Int32Array.from({ length: size }, (_, image) => (seedOf(step * size + image)[0] >>> 8) % 4)
  for (let image = 0; image < size; image++)
    for (let pixel = 0; pixel < 256; pixel++) {
      const stripe = ((targets[image]! & 1 ? pixel : pixel >> 4) >> (targets[image]! >> 1)) & 1
      const noise = toUnit(seedOf(100_000 + (step * size + image) * 256 + pixel)[1]) * 120
      data[image * 256 + pixel] = noise + (stripe ? 60 : 0)
    }
  return { images: { data, shape: [size, 16, 16, 1] }, targets }
}

export function open(precision: Precision, lossScale: LossScaleOptions = {}): Promise<Session> {
  const model = createModel('vit', configuration)
  return createSession({ device, model, precision, lossScale, optimizer: { averages: [0.9] } })
}
