/** Growth of networks with several kinds of blocks: what ran before still computes the same. */

import type { Blocks } from '../../lib/growth/layer-map.js'
import type { GrowthOperator } from '../../lib/growth/operators.js'
import { growBlocks, ownLayers } from '../../lib/growth/operators.js'
import { createModel } from '../../lib/models/registry.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'
import { assertClose } from '../golden.js'
import { test } from '../serial.js'

const device = await openTestDevice()
test.after.always(() => device.close())

const volo = createModel('volo', {
  ...{ imageSize: 32, classes: 5, layers: [2, 2, 1], embedDims: [12, 24, 24], heads: [2, 3, 3], stemDim: 8 },
})
const resnet = createModel('resnet', {
  ...{ block: 'basic', layers: [2, 3], channels: [8, 16], imageSize: 32, classes: 5 },
})
const images = {
  data: Uint8Array.from({ length: 4 * 32 * 32 * 3 }, (_, index) => (Math.imul(index, 2654435761) >>> 13) & 255),
  shape: [4, 32, 32, 3],
}
const targets = Int32Array.of(0, 3, 1, 4)

const cases: [name: string, model: typeof volo, small: Blocks][] = [
  ['volo', volo, [1, 2]],
  ['resnet', resnet, [2, 2]],
  ['resnet of first blocks alone', resnet, [1, 1]],
]
for (const [name, model, small] of cases) {
  for (const operator of ['interpolation', 'stacking', 'rand-init'] as const satisfies GrowthOperator[])
    test(`${name}: ${operator}: the old blocks compute what they did, and the whole trains`, async (t) => {
      const session = await createSession({ device, model: model.withBlocks(small) })
      for (const step of [0, 1]) await session.step({ images, targets, step, learningRate: 1e-2 })
      const before = await session.forward({ images })
      const layers = growBlocks(model.kinds, operator, small, model.blocks)
      await session.grow(layers, { blocks: model.blocks, occasion: 1 })
      t.is(session.model.depth, model.depth)
      const after = await session.forward({ images, layers: ownLayers(layers) })
      assertClose(t, after.logits, before.logits, 1e-6, 'logits')
      const { loss, gradientNorm } = await session.step({ images, targets, learningRate: 1e-3 })
      t.true(Number.isFinite(loss) && gradientNorm > 0)
      await session.close()
    })
  test(`${name}: blocks that do not add up`, async (t) => {
    const session = await createSession({ device, model: model.withBlocks(small) })
    const layers = growBlocks(model.kinds, 'interpolation', small, model.blocks)
    await t.throwsAsync(session.grow(layers), { code: 'SHAPE', message: /numbers of blocks/ })
    await t.throwsAsync(session.grow(layers, { blocks: [1, 1] }), { code: 'SHAPE' })
    await session.close()
  })
}

test('a block of another stage does not fit', async (t) => {
  const session = await createSession({ device, model: resnet })
  const layers = [0, 1, 1, 3, 4].map((source) => ({ source, added: false }))
  await t.throwsAsync(session.grow(layers, { blocks: [2, 3] }), { code: 'SHAPE', message: /does not fit/ })
  await session.close()
})
