// Closes programs and sessions while the device still works for them; emulated-blas.test.ts runs it.
import { createModel } from '../../lib/models/registry.js'
import { addon } from '../../lib/native.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'

const device = await openTestDevice()
const model = createModel('vit', { imageSize: 16, patchSize: 8, embedDim: 12, depth: 2, heads: 2, classes: 4 })
const images = { data: new Uint8Array(4 * 768).fill(7), shape: [4, 16, 16, 3] as const }
const session = await createSession({ device, model })
const step = () => session.step({ images, targets: Int32Array.of(0, 1, 2, 3), learningRate: 1e-2 })
await step()
await session.grow([0, 1, 0].map((source, index) => ({ source, added: index === 2 }))) // closes the programs and the store before
await step()

const f32 = (offset: number, shape: number[]) => ({ arena: 0, offset, type: 'f32' as const, shape })
const handle = await addon().createSession(device.handle, [0])
const program = await addon().createProgram(handle, {
  ...{ batch: 1, microBatch: 1, activationBytes: 512 },
  tensors: [f32(0, [1, 8]), f32(256, [1, 8])],
  nodes: [{ op: 'cast', phase: 1, inputs: [0], outputs: [1], attributes: {} }],
  inputs: [{ name: 'x', tensor: 0, sliced: false }],
  outputs: [{ name: 'y', tensor: 1, sliced: false }],
})
const running = addon().runProgram(program, { x: new Float32Array(8) })
addon().closeProgram(program)
addon().closeSession(handle)
await running
await addon()
  .createSession(device.handle, [2 ** 20, 2 ** 45])
  .then(() => {
    throw new Error('there is room')
  })
  .catch((error: { code?: string }) => {
    if (error.code !== 'MEMORY') throw error
  })
const last = step()
await Promise.all([last, session.close()])
await addon().freeMemory(device.handle) // after all that was let go of
await device.close()
