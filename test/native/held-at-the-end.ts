// Host arrays that are in use when a process ends in the way that the argument names; host-arrays.test.ts runs it.
import { transformImages } from '../../lib/data/image/operations.js'
import { createModel } from '../../lib/models/registry.js'
import { hostArray } from '../../lib/native.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'
import { endInMiddle } from '../endings.js'

const [batch, side] = [16, 64]
const device = await openTestDevice()
const model = createModel('vit', { imageSize: side, patchSize: 32, embedDim: 12, depth: 1, heads: 2, classes: 4 })
const session = await createSession({ device, model })
const pixels = () => hostArray(device.handle, 'u8', batch * side * side * 3).fill(3)
const step = (data: Uint8Array) =>
  session.step({ images: { data, shape: [batch, side, side, 3] }, targets: new Int32Array(batch), learningRate: 1e-3 })
/** Steps that wait for each other, images being made, and arrays that nobody uses. */
const begin = () => {
  const image = { pixels: new Uint8Array(side * side * 3), height: side, width: side, channels: 3 as const }
  const making = transformImages([image], 3, [[]], { height: side, width: side }, pixels())
  return Promise.all([
    making,
    pixels(),
    ...[pixels(), new Uint8Array(pixels())].flatMap((data) => [step(data), step(data)]),
  ])
}

await endInMiddle(begin, import.meta.url)
