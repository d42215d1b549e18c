import { createModel } from '../../lib/models/registry.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'

/** Losses of some steps of a small transformer, with everything opened and closed on the thread that calls. */
export async function trainSmall(steps: number): Promise<number[]> {
  const device = await openTestDevice()
  const model = createModel('vit', { imageSize: 16, patchSize: 8, embedDim: 12, depth: 2, heads: 2, classes: 4 })
  const session = await createSession({ device, model })
  const images = {
    data: Uint8Array.from({ length: 4 * 768 }, (_, index) => (index * 37) % 251),
    shape: [4, 16, 16, 3],
  }
  const losses: number[] = []
  for (let step = 0; step < steps; step++) {
    const { loss } = await session.step({ images, targets: Int32Array.of(0, 1, 2, 3), step, learningRate: 1e-2 })
    losses.push(loss)
  }
  await session.close()
  await device.close()
  return losses
}
