// A session that nobody closes, ended in the way that the argument names; lifetime.test.ts runs it.
import { createModel } from '../../lib/models/registry.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'
import { endInMiddle } from '../endings.js'

const batch = 4

async function openSession() {
  const device = await openTestDevice()
  const model = createModel('vit_micro')
  const session = await createSession({ device, model, precision: 'bf16' })
  const { imageSize, channels } = model
  const images = {
    data: new Uint8Array(batch * imageSize ** 2 * channels).map((_, index) => (index * 97) % 256),
    shape: [batch, imageSize, imageSize, channels] as const,
  }
  return () => session.step({ images, targets: Int32Array.of(0, 1, 2, 3), learningRate: 1e-3 })
}

await endInMiddle(await openSession(), import.meta.url)
