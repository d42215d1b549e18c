import { spawnSync } from 'node:child_process'
import { checkMemory } from '../../lib/memory.js'
import { createModel } from '../../lib/models/registry.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'
import { checkError } from '../error.js'
import { test } from '../serial.js'
import { unless } from '../unless.js'

const device = await openTestDevice()
test.after.always(() => device.close())
const processor = device.kind === 'cpu' && process.platform === 'linux'

test('what is needed is compared with what is free', (t) => {
  const needs = { weights: 600 * 2 ** 20, gradients: 600 * 2 ** 20 }
  const check = (free: number | undefined) => checkMemory('a session', needs, free, 'less')
  check(undefined)
  check(1200 * 2 ** 20)
  checkError(
    t,
    t.throws(() => check(2 ** 30)),
    {
      code: 'MEMORY',
      message: 'a session needs 1.2 GiB of memory (weights 600 MiB, gradients 600 MiB), but 1.0 GiB are free',
      hint: 'less',
    },
  )
})

unless(!processor && 'only the processor is sure to say what is free')(
  'a network that cannot fit is refused before anything is reserved',
  async (t) => {
    const huge = { imageSize: 32, patchSize: 8, embedDim: 2 ** 16, depth: 64, heads: 64, classes: 10 }
    const opening = createSession({ device, model: createModel('vit', huge), optimizer: { averages: [0.9] } })
    checkError(t, await t.throwsAsync(opening), {
      code: 'MEMORY',
      message:
        /^A session of vit needs [\d.]+ GiB of memory \(weights [\d.]+ GiB, gradients [\d.]+ GiB, .*ema0.*\), but [\d.]+ [GM]iB are free$/,
      hint: /smaller model.*averages/,
    })
  },
)

// The process limits itself to what the session holds and a little more, so that 256 images at once do not fit and 16 do.
const code = `
  import { execFileSync } from 'node:child_process'
  import { readFileSync } from 'node:fs'
  const lib = (name) => import(${JSON.stringify(new URL('../../lib/', import.meta.url).href)} + name)
  const { addon, openDevice } = await lib('native.ts')
  const { createModel } = await lib('models/registry.ts')
  const { createSession } = await lib('session/session.ts')
  const { createTuner } = await lib('training/micro-batch.ts')
  const device = await openDevice('cpu', { threads: 1 })
  const model = createModel('vit', { imageSize: 64, patchSize: 4, embedDim: 64, depth: 4, heads: 2, classes: 4 })
  const session = await createSession({ device, model })
  const batch = 256
  const images = { data: new Uint8Array(batch * 64 * 64 * 3), shape: [batch, 64, 64, 3] }
  const step = (microBatch) => session.step({ images, targets: new Int32Array(batch), learningRate: 0.001, microBatch })
  await session.step({ images: { data: new Uint8Array(2 * 12288), shape: [2, 64, 64, 3] }, targets: new Int32Array(2), learningRate: 0 })
  const pages = Number(readFileSync('/proc/self/statm', 'utf8').split(' ')[0])
  execFileSync('prlimit', ['--pid', process.pid, '--as=' + (pages * 4096 + 320 * 2 ** 20) + ':'])
  const tuner = createTuner(batch, 'auto')
  const tried = []
  let refused
  for (;;) {
    const size = tuner.choose('all')
    tried.push(size)
    try {
      await step(size)
      break
    } catch (error) {
      refused = { code: error.code, message: error.message, hint: error.hint }
      if (error.code !== 'MEMORY' || !tuner.refuse('all', size)) break
    }
  }
  console.log(JSON.stringify({ tried, ...refused }))
  process.exit(0)
`

unless((!processor || spawnSync('prlimit', ['--version']).error) && 'prlimit is missing')(
  'micro-batches that do not fit into the memory of the processor are passed over',
  (t) => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '--eval', code],
      { encoding: 'utf8' },
    )
    t.is(status, 0, stderr)
    const { tried, ...error } = JSON.parse(stdout) as { tried: number[] }
    t.is(tried[0], 256)
    t.true(tried.length > 1 && tried.at(-1)! >= 16, String(tried))
    checkError(t, error as unknown as Error, {
      code: 'MEMORY',
      message: /^Could not reserve \d+ MiB of memory: \d+ MiB are free$/,
      hint: new RegExp(`^A micro-batch of ${tried.at(-1)} would fit, instead of ${tried.at(-2)}\\.$`),
    })
  },
)
