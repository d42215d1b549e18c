/** Forward passes for those who use a network: what its head reads, and sessions that train nothing. */
import type { Model } from '../../lib/models/model.js'
import { createModel } from '../../lib/models/registry.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'
import { checkError } from '../error.js'
import { assertClose } from '../golden.js'
import { randomValues } from '../ops/harness.js'
import { test } from '../serial.js'

const device = await openTestDevice()
test.after.always(() => device.close())

const [side, classes, batch] = [32, 5, 3]
const models: Record<string, Model> = {
  vit: createModel('vit', { imageSize: side, patchSize: 8, embedDim: 12, depth: 2, heads: 2, classes }),
  resnet: createModel('resnet', { imageSize: side, block: 'basic', layers: [1, 1], channels: [8, 12], classes }),
  volo: createModel('volo', {
    ...{ imageSize: side, layers: [1, 1], embedDims: [16, 24], heads: [2, 2], patchSize: 8, stemDim: 8, classes },
  }),
}
const shape = [batch, side, side, 3]
const images = { data: randomValues(shape, 1), shape }

for (const [name, model] of Object.entries(models)) {
  test(`the features of a ${name} are what its head makes the logits of`, async (t) => {
    const session = await createSession({ device, model, training: false })
    const plain = await session.forward({ images })
    const { features, logits, tokenLogits } = await session.forward({ images, features: true })
    t.is(plain.features, undefined)
    assertClose(t, logits, plain.logits, 1e-6, 'logits')
    const weights = await session.parameters()
    const head = name === 'resnet' ? 'fc' : 'head'
    const [matrix, bias] = [weights.get(`${head}.weight`)!, weights.get(`${head}.bias`)!]
    const width = matrix.length / classes
    t.is(features!.length, batch * width)
    const expected = Float32Array.from({ length: batch * classes }, (_, i) => {
      const [b, c] = [Math.floor(i / classes), i % classes]
      let sum = bias[c]!
      for (let k = 0; k < width; k++) sum += matrix[c * width + k]! * features![b * width + k]!
      if (tokenLogits === undefined) return sum
      // A VOLO adds half of its best token's.
      const tokens = tokenLogits.length / batch / classes
      const best = Math.max(...Array.from({ length: tokens }, (_, n) => tokenLogits[(b * tokens + n) * classes + c]!))
      return sum + 0.5 * best
    })
    assertClose(t, logits, expected, 1e-5, 'logits')
    await session.close()
  })
}

test('a session without training gives the same logits, and refuses the rest', async (t) => {
  const model = models.vit!
  const [whole, forward] = [
    await createSession({ device, model, seed: 3 }),
    await createSession({ device, model, seed: 3, training: false }),
  ]
  assertClose(t, (await forward.forward({ images })).logits, (await whole.forward({ images })).logits, 0, 'logits')
  const targets = Int32Array.of(0, 1, 2)
  const refused = { code: 'CONFIG', message: /forward passes alone/, hint: /training: false/ } as const
  checkError(t, await t.throwsAsync(forward.step({ images, targets, learningRate: 1 })), refused)
  checkError(t, await t.throwsAsync(forward.lossAndGradients({ images, targets })), refused)
  checkError(t, await t.throwsAsync(forward.grow([{ source: 0, added: false }])), refused)
  await Promise.all([whole.close(), forward.close()])
})
