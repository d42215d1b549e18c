/** Tables of the paper, tried on a few small pictures and a small VOLO; and a schedule carried to another kind of network. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import { fullNetworkOf, subnetworkOf } from '../../lib/growth/space.js'
import { createModel } from '../../lib/models/registry.js'
import { loadConfig } from '../../lib/recipe/config.js'
import { readSummary } from '../../lib/report/run-folder.js'
import { makePictures } from '../pictures.js'
import { test } from '../serial.js'

const folder = mkdtempSync(join(tmpdir(), 'autoprog-paper-'))

test.before(() => makePictures(join(folder, 'pictures'), { train: 16, held: 4 }))
test.after.always(() => rmSync(folder, { recursive: true, force: true }))

async function autoprog(t: ExecutionContext, status: number, ...flags: string[]): Promise<string> {
  const loader = fileURLToPath(import.meta.resolve('tsx'))
  const child = spawn(process.execPath, ['--import', loader, resolve('lib/cli/main.ts'), ...flags], { cwd: folder })
  let text = ''
  child.stdout.on('data', (chunk) => (text += String(chunk)))
  child.stderr.on('data', (chunk) => (text += String(chunk)))
  const [ended] = await once(child, 'close')
  t.is(ended, status, text)
  return text
}

const network =
  '{kind: volo, imageSize: 32, layers: [2, 3], embedDims: [8, 16], heads: [1, 2], patchSize: 8, stemDim: 8}'
const settings = {
  model: network,
  'optimizer.referenceBatch': null,
  'learningRate.warmupEpochs': 1,
  'learningRate.cooldownEpochs': 1,
  'search.batches': 1,
  'search.time': 'flops',
  threads: 1,
  microBatch: 8,
  'evaluation.every': 0,
}
const set = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`])
const tiny = ['--data', 'pictures', '--epochs', '4', '--batch', '8', ...set]

test('table VIII is one command: the run, and its schedule again, measured against the baseline', async (t) => {
  const text = await autoprog(t, 0, 'paper', 'VIII', ...tiny)
  t.regex(text, /^Table VIII: retraining with the searched schedule, VOLO-D1$/m)
  t.regex(
    text,
    /^\| AutoProg 0\.4 Ω \| 81\.1 GPU hours \| .* s \| \+85\.1 % \| [+-]\d+\.\d % \| 82\.7 % \| \d+\.\d\d % \|$/m,
  )
  t.regex(text, /^\| Retrain \| 81\.4 GPU hours \| .* s \| \+84\.5 % \| [+-]\d+\.\d % \| 82\.7 % \| \d+\.\d\d % \|$/m)
  const networks = (run: string) =>
    readSummary(join(folder, 'runs', 'paper', run)).stages.map(({ depth, resolution, steps }) => [
      depth,
      resolution,
      steps,
    ])
  t.deepEqual(networks('volo-d1-fixed-retrain-100-0'), networks('volo-d1-autoprog-0.4-100-0'))
  t.is(readSummary(join(folder, 'runs', 'paper', 'volo-d1-fixed-retrain-100-0')).scheme, 'fixed')
})

test('tables share their runs, and go on where they stopped', async (t) => {
  const again = await autoprog(t, 0, 'paper', 'VIII', ...tiny)
  t.is(again.match(/^kept: /gm)?.length, 3)
  const stacked = await autoprog(t, 0, 'paper', 'III', '--only', 'AutoProg', ...tiny)
  t.is(stacked.match(/^kept: /gm)?.length, 2)
  t.notRegex(stacked, /ProgStack/)
})

test('table II evaluates at the larger resolution, once', async (t) => {
  const flags = ['paper', 'II', '--only', 'D1, AutoProg 0.4', ...tiny]
  const text = await autoprog(t, 0, ...flags)
  t.is(text.match(/evaluating at 48 px/g)?.length, 2) // 32 * 288 / 224, in whole patches
  t.regex(text, /^\| VOLO-D1 \| 6\.8G \| .*\| 83\.0 % \| \d+\.\d\d % \|$/m)
  t.notRegex(await autoprog(t, 0, ...flags), /evaluating at/)
})

test('a row that there is not is a mistake on the command line', async (t) => {
  t.regex(
    await autoprog(t, 2, 'paper', 'IX', '--only', 'vit', ...tiny),
    /No row of table IX holds "vit": Original; AutoProg/,
  )
  t.regex(await autoprog(t, 2, 'paper', 'X', ...tiny), /Allowed choices are II, III/)
})

test('table IX: the schedule of a VOLO run is carried to a ResNet', async (t) => {
  const recipe = `
data: pictures
model: { kind: resnet, imageSize: 64, block: basic, layers: [1, 3, 2, 1], channels: [8, 8, 16, 16] }
epochs: 4
batch: 8
microBatch: 8
threads: 1
schedule: { lengths: [1, 1, 2, 3] }
learningRate: { warmupEpochs: 1 }
regularization: { stochasticDepth: 0 }
evaluation: { every: 0 }
`
  writeFileSync(join(folder, 'small-resnet.yaml'), recipe)
  const run = join('runs', 'paper', 'volo-d1-autoprog-0.4-100-0')
  const text = await autoprog(t, 0, 'train', 'small-resnet.yaml', '--retrain', run)
  const out = 'small-resnet-retrained-fixed-0'
  t.regex(text, new RegExp(`^run folder: runs/${out}$`, 'm'))
  const [volo, resnet] = [run, join('runs', out)].map((each) => readSummary(join(folder, each)))
  const ratios = (summary: typeof volo) => summary!.stages.map(({ l, n }) => [l, n])
  t.deepEqual(ratios(resnet), ratios(volo))
  t.regex(resnet!.model, /resnet/)
  const full = fullNetworkOf(
    createModel({
      kind: 'resnet',
      imageSize: 64,
      block: 'basic',
      layers: [1, 3, 2, 1],
      channels: [8, 8, 16, 16],
      classes: 3,
    }),
  )
  // Its own resolutions and blocks; the shares of the epochs are those of the run.
  for (const { l, n, depth, resolution } of resnet!.stages) {
    const network = subnetworkOf(full, l, n)
    t.deepEqual([depth, resolution], [network.depth, network.resolution])
  }
  t.is(loadConfig({ file: join(folder, 'runs', out, 'config.yaml') }).schedule.lengths, null)
  t.deepEqual(
    resnet!.stages.map(({ steps }) => steps),
    [6, 6, 6, 6],
  )
})

test('a supernet has no schedule to carry on', async (t) => {
  await autoprog(t, 0, 'paper', 'VI', '--only', 'supernet', ...tiny)
  const run = join('runs', 'paper', 'volo-d1-supernet-100-0')
  t.true(readdirSync(join(folder, run)).includes('summary.json'))
  t.regex(await autoprog(t, 1, 'train', '--retrain', run), /error CONFIG: Expected a run that ends with a schedule/)
})
