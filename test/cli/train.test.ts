/** Whole runs through the command line, on a small folder of real image files. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import sharp from 'sharp'
import type { SchemeStatistics } from '../../lib/report/comparison.js'
import type { Summary } from '../../lib/report/events.js'
import { readEvents, readSummary } from '../../lib/report/run-folder.js'
import { test } from '../serial.js'

const folder = mkdtempSync(join(tmpdir(), 'autoprog-train-'))

const recipe = `
data: images
model: vit_micro
epochs: 4
batch: 8
threads: 1
schedule: { kind: original, stages: 2, ratio: 0.5 }
search: { batches: 2 }
learningRate: { warmupEpochs: 1 }
ema: { decays: [0.9, 0.99] }
evaluation: { batch: 16 }
`

/** Two classes, reddish and bluish, with noise; 32 training and 8 held-out images each. */
test.before(async () => {
  writeFileSync(join(folder, 'colours.yaml'), recipe)
  for (const [half, count] of [
    ['train', 32],
    ['val', 8],
  ] as const) {
    for (const [label, tint] of [
      ['red', 0],
      ['blue', 2],
    ] as const) {
      mkdirSync(join(folder, 'images', half, label), { recursive: true })
      for (let image = 0; image < count; image++) {
        const pixels = Buffer.from(
          Array.from(
            { length: 32 * 32 * 3 },
            (_, i) => ((i * 7919 + image * 104729) % 97) + (i % 3 === tint ? 120 : 0),
          ),
        )
        await sharp(pixels, { raw: { width: 32, height: 32, channels: 3 } })
          .png()
          .toFile(join(folder, 'images', half, label, `${image}.png`))
      }
    }
  }
})

function start(...flags: string[]): { child: ChildProcess; output: () => string; ended: Promise<number | null> } {
  const loader = fileURLToPath(import.meta.resolve('tsx'))
  const child = spawn(process.execPath, ['--import', loader, resolve('lib/cli/main.ts'), ...flags], { cwd: folder })
  let text = ''
  child.stdout.on('data', (chunk) => (text += String(chunk)))
  child.stderr.on('data', (chunk) => (text += String(chunk)))
  return { child, output: () => text, ended: once(child, 'close').then(([status]) => status as number | null) }
}

async function autoprog(t: ExecutionContext, ...flags: string[]): Promise<string> {
  const { output, ended } = start(...flags)
  t.is(await ended, 0, output())
  return output()
}

test('a run prints what its record says', async (t) => {
  const text = await autoprog(t, 'train', 'colours.yaml')
  const run = join(folder, 'runs', 'colours-original-0')
  const summary = readSummary(run)
  t.deepEqual(readEvents(run).at(-1), { type: 'end', summary })
  t.regex(text, new RegExp(`top-1 +weights ${(100 * summary.top1!).toFixed(2)} %`))
  t.true(summary.top1! > 0.9, `two plain colours: ${summary.top1}`)
  t.is(text.match(/^epoch \d/gm)?.length, 4)
  const evaluated = JSON.parse(await autoprog(t, 'evaluate', run, '--json')) as { top1: number; images: number }
  t.is(evaluated.top1, summary.top1!)
  t.is(evaluated.images, 16)
})

test('a second run takes a folder of its own; its practical speed-up needs a baseline', async (t) => {
  const text = await autoprog(t, 'train', 'colours.yaml', '--baseline', join('runs', 'colours-original-0'))
  t.regex(text, /^run folder: runs\/colours-original-0-2$/m)
  const { speedupPractical, seconds } = readSummary(join(folder, 'runs', 'colours-original-0-2'))
  t.is(speedupPractical, readSummary(join(folder, 'runs', 'colours-original-0')).seconds / seconds)
})

test('a run is trained again by the schedule that it found, for the table of that', async (t) => {
  const found = join('runs', 'found')
  await autoprog(t, 'train', 'colours.yaml', '--schedule', 'prog', '--stages', '2', '--ratio', '0.5', '--out', found)
  const text = await autoprog(t, 'train', '--retrain', found)
  t.regex(text, /^run folder: runs\/found-retrained-fixed-0$/m)
  const networks = (run: string) =>
    readSummary(join(folder, run)).stages.map(({ depth, resolution, steps }) => ({ depth, resolution, steps }))
  t.deepEqual(networks(join('runs', 'found-retrained-fixed-0')), networks(found))
  t.is(readSummary(join(folder, 'runs', 'found-retrained-fixed-0')).scheme, 'fixed')
})

for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  test(`${signal} leaves a checkpoint, exits ${status}, and the run goes on from it`, async (t) => {
    const out = join('runs', signal)
    const { child, output, ended } = start('train', 'colours.yaml', '--epochs', '200', '--out', out)
    while (!output().includes('epoch 2 ') && child.exitCode === null) await new Promise((done) => setTimeout(done, 20))
    child.kill(signal)
    t.is(await ended, status, output())
    t.regex(output(), new RegExp(`to continue: npx autoprog train --resume --out ${out}`))
    const last = readEvents(join(folder, out)).at(-1)
    if (last?.type !== 'checkpoint') return t.fail('it ends with a checkpoint')
    t.true(last.step >= 16)
    const again = start('train', '--resume', '--out', out)
    while (!again.output().includes('epoch ') && again.child.exitCode === null)
      await new Promise((done) => setTimeout(done, 20))
    again.child.kill(signal)
    t.is(await again.ended, status, again.output())
    t.regex(again.output(), new RegExp(`resumed at step ${last.step}$`, 'm'))
    const steps = readEvents(join(folder, out)).flatMap((event) => (event.type === 'step' ? event.step : []))
    t.deepEqual(
      steps,
      steps.map((_, index) => index),
      'every step once',
    )
  })
}

test('a comparison trains every scheme, writes its table, and keeps what has ended', async (t) => {
  const flags = [
    'compare',
    'colours.yaml',
    '--schemes',
    'original-short,original,autoprog',
    '--seeds',
    '1',
    '--results',
    join('docs', 'colours.json'),
  ]
  const text = await autoprog(t, ...flags)
  t.regex(text, /^\| scheme \| epochs \| best average \| weights /m)
  const written = JSON.parse(readFileSync(join(folder, 'docs', 'colours.json'), 'utf8')) as {
    machine: { cpu: string; node: string }
    version: string
    schemes: SchemeStatistics[]
    runs: { scheme: string; seed: number; summary: Summary }[]
  }
  t.deepEqual(
    written.runs.map((run) => run.scheme),
    ['original', 'autoprog', 'original-short'],
  )
  t.is(written.machine.node, process.version)
  const [original, autoprogRun, short] = written.runs.map((run) => run.summary)
  const fitting = Math.max(1, Math.ceil((4 * autoprogRun!.seconds) / original!.seconds))
  t.is(short!.epochs, Math.min(4, fitting))
  t.is(written.schemes[1]?.speedupPractical, original!.seconds / autoprogRun!.seconds)
  const again = await autoprog(t, ...flags)
  t.is(again.match(/^kept: /gm)?.length, 3)
  const other = start(...flags, '--epochs', '5')
  t.is(await other.ended, 1)
  t.regex(other.output(), /error CONFIG: .*original-1 holds a run of another recipe\nhint: .*epochs: 5 and 4/)
})

test('a new scheme joins a finished comparison, whatever only it reads', async (t) => {
  const subnetworks = 'schedule.subnetworks=[{l: 0.5, n: 0.5}, {l: 1, n: 1}]'
  const flags = ['compare', 'colours.yaml', '--seeds', '1', '--set', subnetworks]
  const text = await autoprog(t, ...flags, '--schemes', 'original,fixed')
  t.is(text.match(/^kept: .*original-1 has ended/gm)?.length, 1)
  t.is(text.match(/^kept: /gm)?.length, 1)
  t.regex(text, /^\| fixed \| 4 \|/m)
})

test('recipes by their own schemes and runs that have ended make one table', async (t) => {
  writeFileSync(join(folder, 'small.yaml'), recipe.replace('epochs: 4', 'epochs: 2').replace('original', 'prog'))
  const both = [
    'compare',
    'colours.yaml',
    'small.yaml',
    '--runs',
    join('runs', 'compare-colours'),
    join('runs', 'found'),
  ]
  const text = await autoprog(t, ...both, '--seeds', '1')
  const rows = [...text.matchAll(/^\| (\S.*?) \| \d+ \|.*\| (\S+) \|$/gm)].map(([, row]) => row)
  t.deepEqual(rows, [
    'colours original',
    'small prog',
    ...['autoprog', 'fixed', 'original', 'original-short'].map((scheme) => `compare-colours ${scheme}`),
    'found',
  ])
  const { runs } = JSON.parse(readFileSync(join(folder, 'runs', 'compare-colours-small', 'compare.json'), 'utf8')) as {
    runs: { scheme: string; baseline?: string }[]
  }
  const baselines = Object.fromEntries(runs.map((run) => [run.scheme, run.baseline]))
  t.is(baselines['small prog'], 'colours original')
  t.is(baselines['compare-colours autoprog'], 'compare-colours original')
  t.is(baselines.found, undefined) // of seed 0, of which there is no ordinary training
})

test('a folder of images and nothing else trains; what was chosen is said in a line each, and evaluation finds it again', async (t) => {
  const text = await autoprog(t, 'train', '--data', 'images', '--epochs', '4', '--device', 'cpu')
  t.regex(text, /^run folder: runs\/own-images-autoprog-0$/m)
  t.regex(text, /^images: 54 training images, 10 for choosing, 16 held out, 2 classes$/m)
  t.regex(text, /^note: the test images are those in val\/$/m)
  t.regex(
    text,
    /^note: chose a vision transformer of 6 layers, 64 px for images of 32 x 32, and a batch of 6 for 54 images$/m,
  )
  const { top1 } = readSummary(join(folder, 'runs', 'own-images-autoprog-0'))
  t.true(top1! > 0.9, `two plain colours: ${top1}`)
  const run = join('runs', 'own-images-autoprog-0')
  t.is((JSON.parse(await autoprog(t, 'evaluate', run, '--json')) as { top1: number }).top1, top1!)
})
