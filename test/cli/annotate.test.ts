/** Label maps through the command line, made by a small network trained on a folder of real image files. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import sharp from 'sharp'
import { loadDataset } from '../../datasets/index.js'
import { transformImages } from '../../lib/data/image/operations.js'
import { openLabelMaps } from '../../lib/data/labels/token-labels.js'
import { draw, toInteger } from '../../lib/random.js'
import { openTrained } from '../../lib/training/trained.js'
import { temporaryFolder, writeTree } from '../data/images.js'
import { test } from '../serial.js'

const folder = await temporaryFolder()
const run = join('runs', 'halves')
const perClass = 60

/** Pictures of which the left half alone, or the right, is red; all else is grey noise. */
async function pictures(half: string, count: number): Promise<Record<string, Buffer>> {
  const files: Record<string, Buffer> = {}
  for (const [kind, name] of ['left', 'right'].entries())
    for (let image = 0; image < count; image++) {
      const pixels = Buffer.alloc(24 * 36 * 3)
      for (let y = 0; y < 24; y++)
        for (let x = 0; x < 36; x++) {
          const grey = toInteger(draw(kind, 1, image, 36 * y + x)[0], 120)
          const red = x < 18 === (kind === 0) ? 120 : 0
          pixels.set([grey + red, grey, grey], 3 * (36 * y + x))
        }
      files[`${half}/${name}/${image}.png`] = await sharp(pixels, { raw: { width: 36, height: 24, channels: 3 } })
        .png()
        .toBuffer()
    }
  return files
}

function start(...flags: string[]): { child: ChildProcess; output: () => string; ended: Promise<number | null> } {
  const loader = fileURLToPath(import.meta.resolve('tsx'))
  const child = spawn(process.execPath, ['--import', loader, resolve('lib/cli/main.ts'), ...flags], { cwd: folder })
  let text = ''
  child.stdout.on('data', (chunk) => (text += String(chunk)))
  child.stderr.on('data', (chunk) => (text += String(chunk)))
  return { child, output: () => text, ended: once(child, 'close').then(([status]) => status as number | null) }
}

async function autoprog(t: ExecutionContext, status: number, ...flags: string[]): Promise<string> {
  const { output, ended } = start(...flags)
  t.is(await ended, status, output())
  return output()
}

const annotate = (t: ExecutionContext, status: number, ...flags: string[]) =>
  autoprog(t, status, 'annotate', run, 'images', ...flags)

test.before(async (t) => {
  await writeTree(join(folder, 'images'), { ...(await pictures('train', perClass)), ...(await pictures('val', 4)) })
  writeFileSync(
    join(folder, 'halves.yaml'),
    `
data: images
model: { kind: vit, imageSize: 32, patchSize: 8, embedDim: 24, depth: 2, heads: 2 }
epochs: 4
batch: 20
threads: 1
schedule: { kind: original }
augmentation: { crop: resized, scale: [0.8, 1], flip: false }
optimizer: { learningRate: 4.0e-3 }
learningRate: { warmupEpochs: 1 }
ema: { decays: [0.9] }
evaluation: { batch: 16 }
`,
  )
  await autoprog(t, 0, 'train', 'halves.yaml', '--out', run)
})

test('a run annotates its training images, and token labelling finds the maps', async (t) => {
  const text = await annotate(t, 0, 'labels.safetensors')
  t.regex(
    text,
    /^labels\.safetensors: label maps of 120 training images, the best 2 of 2 classes on 4 x 4, .*B, in .* s$/m,
  )
  const { train, classes, close } = await loadDataset(join(folder, 'images'))
  const maps = await openLabelMaps(join(folder, 'labels.safetensors'), { split: train, classes })
  t.deepEqual([maps.shape, maps.logits, maps.found, maps.notices], [[2, 4, 4], false, 120, []])
  const { session, close: closeRun } = await openTrained(join(folder, run), { data: join(folder, 'images') })
  for (const index of [0, 59, 60, 119]) {
    // The whole picture, made square.
    const picture = await train.load(index)
    const pixels = new Uint8Array(32 * 32 * 3)
    const plan = [{ op: 'resize', width: 32, height: 32, filter: 'bicubic', region: [0, 0, 36, 24] }] as const
    await transformImages([picture], 3, [plan], { width: 32, height: 32 }, pixels)
    const images = { data: pixels, shape: [1, 32, 32, 3] }
    const { tokenLogits } = await session.forward({ images, positions: true })
    const { classes: best, scores } = await maps.at(index)
    for (let cell = 0; cell < 16; cell++) {
      const [left, right] = tokenLogits!.subarray(2 * cell)
      t.deepEqual([best[cell], best[16 + cell]], left! >= right! ? [0, 1] : [1, 0])
      const wanted = 1 / (1 + Math.exp(-Math.abs(left! - right!)))
      t.true(Math.abs(scores[cell]! - wanted) < 1e-3 && Math.abs(scores[16 + cell]! - (1 - wanted)) < 1e-3)
    }
  }
  await closeRun()
  await maps.close()
  await close()
})

test('other settings give other maps; a checkpoint will do for a run', async (t) => {
  const [checkpoint] = await readdir(join(folder, run, 'checkpoints'))
  const flags = ['--resolution', '48', '--top', '1', '--batch', '7', '--weights', 'ema0', '--json']
  const text = await autoprog(
    t,
    0,
    'annotate',
    join(run, 'checkpoints', checkpoint!),
    'images',
    'fine.safetensors',
    ...flags,
  )
  const { seconds, ...document } = JSON.parse(text) as { seconds: number }
  t.true(seconds > 0)
  const { size: bytes } = await stat(join(folder, 'fine.safetensors'))
  t.deepEqual(document, {
    ...{ labels: 'fine.safetensors', run: join(run, 'checkpoints', checkpoint!), data: 'images' },
    ...{ images: 120, resumedFrom: 0, classes: 2, top: 1, grid: 6, resolution: 48, bytes },
    notices: ['the test images are those in val/'],
  })
})

test('what an interrupt leaves is gone on with by the same command, to the same bytes', async (t) => {
  const flags = ['--resolution', '256', '--batch', '2']
  await annotate(t, 0, 'whole.safetensors', ...flags)
  const part = join(folder, 'pieces.safetensors.part')
  const { child, output, ended } = start('annotate', run, 'images', 'pieces.safetensors', ...flags)
  while (!existsSync(part) && child.exitCode === null) await new Promise((done) => setTimeout(done, 5))
  await new Promise((done) => setTimeout(done, 200))
  child.kill('SIGINT')
  const status = await ended
  if (status === 130) {
    t.regex(output(), /stopping; the maps made so far are kept/)
    t.true(existsSync(part) && !existsSync(join(folder, 'pieces.safetensors')))
    const other = await annotate(t, 1, 'pieces.safetensors', '--resolution', '64', '--batch', '2')
    t.regex(other, /error DATA: pieces\.safetensors\.part was begun with other label maps: resolution differs\nhint: /)
    await annotate(t, 0, 'pieces.safetensors', ...flags)
  } else t.true(!existsSync(part), output()) // it was faster than the signal
  t.true(!existsSync(part))
  t.true(
    readFileSync(join(folder, 'pieces.safetensors')).equals(readFileSync(join(folder, 'whole.safetensors'))),
    'the same bytes',
  )
})

test('what cannot be done is said, and nothing is left behind', async (t) => {
  await annotate(t, 0, 'taken.safetensors')
  const before = (await readdir(folder)).sort()
  t.regex(
    await annotate(t, 1, 'taken.safetensors'),
    /error DATA: taken\.safetensors is there already\nhint: add --force/,
  )
  t.regex(await annotate(t, 1, 'labels.pt'), /error CONFIG: Expected a name that ends in \.safetensors/)
  t.regex(
    await annotate(t, 1, 'x.safetensors', '--top', '3'),
    /error CONFIG: Expected an integer from 1 to the 2 classes/,
  )
  t.regex(await annotate(t, 1, 'x.safetensors', '--resolution', '33'), /error CONFIG: Expected a multiple of 8 pixels/)
  t.regex(
    await annotate(t, 1, 'x.safetensors', '--weights', 'ema4'),
    /error CONFIG: Expected model or one of 1 averages/,
  )
  t.regex(await annotate(t, 1, 'x.safetensors', '--batch', '0'), /error CONFIG: Expected a positive integer for batch/)
  t.regex(
    await autoprog(t, 1, 'annotate', run, 'fashion-mnist', 'x.safetensors'),
    /error DATA: fashion-mnist has 10 classes that the run does not know: T-shirt\/top, .* and 2 more\nhint: The run was trained on left, right/,
  )
  t.regex(
    await autoprog(t, 1, 'annotate', 'nowhere', 'images', 'x.safetensors'),
    /error CHECKPOINT: There is no run in nowhere/,
  )
  t.regex(await annotate(t, 1, join('nowhere', 'x.safetensors')), /error DATA: Cannot write/)
  t.deepEqual((await readdir(folder)).sort(), before)
  await annotate(t, 0, 'taken.safetensors', '--force')
})
