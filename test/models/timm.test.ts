import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Model } from '../../lib/models/model.js'
import { createModel } from '../../lib/models/registry.js'
import { readTensors } from '../../lib/models/tensor-file.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'
import { assertClose, goldenJson } from '../golden.js'
import { test } from '../serial.js'

const device = await openTestDevice()
const folder = await mkdtemp(join(tmpdir(), 'autoprog-timm-'))
const facts = await goldenJson<Pictures & { resnet: number[]; large: Pictures }>('timm_logits')
test.after.always(async () => {
  await device.close()
  await rm(folder, { recursive: true })
})

interface Pictures {
  pixels: number[]
  shape: number[]
  volo: number[]
}
const imagesOf = ({ pixels, shape }: Pictures) => ({ data: Uint8Array.from(pixels), shape })
const images = imagesOf(facts)
const pathOf = (name: string) => fileURLToPath(new URL(`../golden/timm_${name}.safetensors`, import.meta.url))
const networks: Record<'volo' | 'resnet', Model> = {
  volo: createModel('volo', {
    ...{ imageSize: 32, classes: 5, layers: [1, 1, 1], stemDim: 8, embedDims: [12, 24, 24], heads: [2, 3, 3] },
  }),
  resnet: createModel('resnet', {
    block: 'basic',
    layers: [1, 1, 2, 1],
    channels: [4, 8, 8, 16],
    imageSize: 32,
    classes: 5,
  }),
}

for (const name of ['volo', 'resnet'] as const)
  test(`a ${name} saved by timm gives timm's logits, and is the same when saved again`, async (t) => {
    const path = pathOf(name)
    const session = await createSession({ device, model: networks[name] })
    await session.load(path)
    const { logits } = await session.forward({ images })
    assertClose(t, logits, facts[name], 1e-5, 'logits')
    const copy = join(folder, `${name}.safetensors`)
    await session.save(copy)
    const [mine, theirs] = [await readTensors(copy), await readTensors(path)]
    t.deepEqual(new Map([...mine.tensors].sort()), new Map([...theirs.tensors].sort()))
    await session.close()
  })

test('a volo is evaluated on images larger than those it was trained on', async (t) => {
  const session = await createSession({ device, model: networks.volo })
  await session.load(pathOf('volo'))
  const { logits } = await session.forward({ images: imagesOf(facts.large) })
  assertClose(t, logits, facts.large.volo, 1e-5, 'logits')
  await session.close()
})

test('weights of a network of another width: the first mismatches are listed, and nothing changes', async (t) => {
  const session = await createSession({ device, model: createModel('volo_d1_224', { classes: 5 }) })
  const { message } = (await t.throwsAsync(session.load(pathOf('volo'))))!
  const names = [...message.matchAll(/(\S+) (?:has shape|is missing|is not)/g)].map(([, each]) => each)
  t.is(names.length, 8)
  t.is(new Set(names).size, names.length)
  t.regex(message, /cls_token has shape \[1, 1, 24\] instead of \[1, 1, 384\][\s\S]*\n {2}and \d{3} more$/)
  await session.close()
})
