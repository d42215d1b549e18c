import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createModel } from '../../lib/models/registry.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'
import { test } from '../serial.js'
import { unless } from '../unless.js'

// Training steps of ImageNet's size on an emulated GPU of 80 GB that runs a few blocks of each launch: what is checked is
// that its grids and blocks are such as CUDA takes, that no place is counted in too few bits, and which kernels are
// chosen. Read when the addon first looks for a device.
const log = join(tmpdir(), `autoprog-launches-${process.pid}.txt`)
process.env.AUTOPROG_EMULATED_BLOCKS = '3'
process.env.AUTOPROG_EMULATED_MEMORY = String(80 * 1024)
process.env.AUTOPROG_EMULATED_CAPABILITY = '8.6' // the least shared memory a block that a supported GPU has
process.env.AUTOPROG_EMULATED_LOG = log

const device = await openTestDevice()
test.after.always(async () => {
  await device.close()
  rmSync(log, { force: true })
})

/** Names of what one step launches. */
async function launches(name: string, batch: number): Promise<string[]> {
  const before = existsSync(log) ? readFileSync(log, 'utf8').length : 0
  const model = createModel(name)
  const session = await createSession({ device, model, precision: 'bf16' })
  const grid = model.tokenSize === undefined ? undefined : 224 / model.tokenSize
  await session.step({
    images: { data: new Uint8Array(batch * 224 * 224 * 3), shape: [batch, 224, 224, 3] },
    targets: Int32Array.from({ length: batch }, (_, index) => index % 1000),
    ...(grid !== undefined && {
      tokenTargets: new Float32Array(batch * grid ** 2 * 1000),
      mixBox: [0, 0, grid >> 1, grid >> 1] as const,
    }),
    ...{ microBatch: batch, learningRate: 1e-4 },
  })
  await session.close()
  return readFileSync(log, 'utf8')
    .slice(before)
    .split('\n')
    .map((line) => line.split('\t')[0]!)
}

for (const [name, batch, expected] of [
  ['deit_small_patch16_224', 256, ['attention', 'attentionGradient of queries', 'attentionGradient of keys', 'adamw']],
  ['volo_d1_224', 256, ['outlookAttention', 'attentionGradient of keys', 'adamw']],
  ['resnet50', 256, ['convolution patches', 'batchNormGradient sums', 'adamw']],
] as const)
  unless(device.kind !== 'cuda-emulated' && 'there is no emulated device')(
    `a step of ${name} with ${batch} images fits a GPU's limits and takes the fast kernels`,
    async (t) => {
      const names = await launches(name, batch)
      for (const kernel of expected) t.true(names.includes(kernel), `${kernel} is missing`)
      const slow = /^plain |^(linear|convolution) bias$/ // a bias that cuBLASLt did not add
      t.deepEqual(
        names.filter((kernel) => slow.test(kernel)),
        [],
      )
    },
  )

unless(device.kind !== 'cuda-emulated' && 'there is no emulated device')(
  'a GPU older than Ampere is refused by name',
  (t) => {
    const script = `
      import { openDevice } from './lib/native.ts'
      await openDevice('cuda-emulated').catch((error) => console.log(error.code, error.message))`
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '--eval', script],
      { encoding: 'utf8', env: { ...process.env, AUTOPROG_EMULATED_CAPABILITY: '7.5' } },
    )
    t.regex(stdout, /DEVICE emulated has compute capability 7\.5, but 8\.0 \(Ampere\) or later is needed/, stderr)
  },
)
