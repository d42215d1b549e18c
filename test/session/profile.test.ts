import { createModel } from '../../lib/models/registry.js'
import type { Device } from '../../lib/native.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'
import { checkError } from '../error.js'
import { test } from '../serial.js'
import { unless } from '../unless.js'

// What the variable says counts when the device is opened.
process.env.AUTOPROG_PROFILE = '1'
const profiled = await openTestDevice()
delete process.env.AUTOPROG_PROFILE
const plain = await openTestDevice()
test.after.always(async () => {
  await Promise.all([profiled.close(), plain.close()])
})

const images = { data: Uint8Array.from({ length: 4 * 16 * 16 * 3 }, (_, i) => (i * 37) % 251), shape: [4, 16, 16, 3] }
const targets = Int32Array.of(0, 1, 2, 3)
const open = (device: Device) =>
  createSession({
    device,
    model: createModel('vit', { imageSize: 16, patchSize: 8, embedDim: 16, depth: 1, heads: 2, classes: 4 }),
    optimizer: { clip: 1 },
  })

test('a profile names every op, and grows with every step', async (t) => {
  const session = await open(profiled)
  t.deepEqual(await session.profile(), {}, 'nothing has run')
  let before: Record<string, number> = {}
  for (let step = 0; step < 3; step++) {
    await session.step({ images, targets, microBatch: 2, learningRate: 1e-2 })
    const after = await session.profile()
    for (const op of ['images', 'patches', 'linear', 'classAttentionGradient', 'crossEntropy', 'gradientNorm', 'adamw'])
      t.true(after[op]! > (before[op] ?? 0), `${op} after step ${step}: ${after[op]} s after ${before[op]}`)
    before = after
  }
  await session.close()
})

test('a profile changes nothing else', async (t) => {
  const losses = async (device: Device) => {
    const session = await open(device)
    const result: number[] = []
    for (let step = 0; step < 3; step++)
      result.push((await session.step({ images, targets, microBatch: 2, learningRate: 1e-2 })).loss)
    await session.close()
    return result
  }
  t.deepEqual(await losses(profiled), await losses(plain))
})

unless(plain.kind === 'cpu' && 'the processor always times its ops')(
  'a profile of recorded steps is refused, and says what would help',
  async (t) => {
    const session = await open(plain)
    await session.step({ images, targets, learningRate: 1e-2 })
    const error = await t.throwsAsync(session.profile())
    checkError(t, error, {
      code: 'DEVICE',
      message: `The seconds by op are not known: a step on ${plain.kind} runs as one graph`,
      hint: /^Set AUTOPROG_PROFILE=1 before the device is opened/,
    })
    await session.close()
  },
)
