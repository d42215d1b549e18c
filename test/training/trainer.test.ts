import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import sharp from 'sharp'
import { readTensors } from '../../lib/models/tensor-file.js'
import { draw, Purpose, toUnit } from '../../lib/random.js'
import type { Config, ConfigInput } from '../../lib/recipe/config.js'
import { resolveConfig } from '../../lib/recipe/config.js'
import type { EpochEvent, SearchEvent, StepEvent, Summary, TrainingEvent } from '../../lib/report/events.js'
import { readEvents, readSummary } from '../../lib/report/run-folder.js'
import { evaluate } from '../../lib/training/evaluate.js'
import { train } from '../../lib/training/trainer.js'
import { checkAbort } from '../error.js'
import { test } from '../serial.js'

let folder: string
let data: string

/** A folder of small pictures in three classes that a network can tell apart: bars along x, along y, and discs. */
async function makePictures(root: string): Promise<void> {
  const side = 16
  for (const [split, count] of [
    ['train', 48],
    ['val', 16],
  ] as const)
    for (const [kind, name] of ['bars', 'columns', 'discs'].entries()) {
      await mkdir(join(root, split, name), { recursive: true })
      for (let index = 0; index < count; index++) {
        const [a, b, c] = draw(split === 'train' ? 1 : 2, Purpose.augmentation, kind, index).map(toUnit) as [
          number,
          number,
          number,
          number,
        ]
        const [period, phase, level] = [3 + 3 * a, 6 * b, 120 + 100 * c]
        const pixels = Buffer.alloc(side * side * 3)
        for (let y = 0; y < side; y++)
          for (let x = 0; x < side; x++) {
            const wave = kind === 0 ? y : kind === 1 ? x : Math.hypot(x - 8, y - 8)
            pixels.fill(
              Math.round(level * (Math.sin((2 * Math.PI * (wave + phase)) / period) > 0 ? 1 : 0.2)),
              (y * side + x) * 3,
              (y * side + x) * 3 + 3,
            )
          }
        await sharp(pixels, { raw: { width: side, height: side, channels: 3 } })
          .png()
          .toFile(join(root, split, name, `${index}.png`))
      }
    }
}

const recipe = (overrides: Partial<ConfigInput> = {}): Config =>
  resolveConfig({
    data,
    model: { kind: 'vit', imageSize: 16, patchSize: 4, embedDim: 24, depth: 4, heads: 2 },
    epochs: 12,
    batch: 16,
    microBatch: 8,
    schedule: { kind: 'autoprog', stages: 3, ratio: 0.5, operator: 'interpolation' },
    search: { batches: 2, time: 'flops', epochs: 1 },
    optimizer: { learningRate: 4e-3 },
    learningRate: { warmupEpochs: 1 },
    ema: { decays: [0.8, 0.9] },
    augmentation: { flip: false, pad: 1 },
    regularization: { stochasticDepth: 0.1 },
    evaluation: { batch: 48 },
    ...overrides,
  } satisfies ConfigInput)

async function collect(events: AsyncIterable<TrainingEvent>): Promise<TrainingEvent[]> {
  const list: TrainingEvent[] = []
  for await (const event of events) list.push(event)
  return list
}

const ofType = <T extends TrainingEvent['type']>(events: readonly TrainingEvent[], type: T) =>
  events.filter((event): event is Extract<TrainingEvent, { type: T }> => event.type === type)

/** Everything of a checkpoint that must not depend on interruptions: all tensors, and the trainer's state but its times. */
async function fingerprint(t: ExecutionContext, run: string): Promise<string> {
  const files = await readdir(join(run, 'checkpoints'))
  t.is(files.length, 2, 'two checkpoints are kept')
  const { tensors } = await readTensors(join(run, 'checkpoints', files.sort()[1]!))
  const hash = createHash('sha256')
  for (const [name, { values }] of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1)))
    hash.update(name).update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  return hash.digest('hex')
}

test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'autoprog-train-'))
  data = join(folder, 'pictures')
  await makePictures(data)
})
test.after.always(() => rm(folder, { recursive: true, force: true }))

const events: TrainingEvent[] = []
const arrivals: number[] = []
const evaluated: string[] = []
const compared: string[] = []
let summary: Summary

test('training: a run with AutoProg learns, and tells what it did', async (t) => {
  const out = join(folder, 'whole')
  const onEvaluating = (done: number, total: number) => evaluated.push(`${done}/${total}`)
  const onComparing = (done: number, total: number) => compared.push(`${done}/${total}`)
  for await (const event of train(recipe(), { out, onEvaluating, onComparing })) {
    events.push(event)
    arrivals.push(performance.now())
  }
  summary = ofType(events, 'end')[0]!.summary
  t.true(summary.top1! >= 0.9, `top-1 ${summary.top1}`)
  t.deepEqual(readEvents(out), events)
  t.deepEqual(readSummary(out), summary)
  t.deepEqual(
    ofType(events, 'step').map(({ step }) => step),
    Array.from({ length: 108 }, (_, step) => step),
  )
  t.is(ofType(events, 'epoch').length, 12)
  t.is(ofType(events, 'search').length, 2)
  t.deepEqual(
    ofType(events, 'stage').map(({ stage, phase }) => [stage, phase]),
    [
      [1, 'search'],
      [1, 'train'],
      [2, 'search'],
      [2, 'train'],
      [3, 'train'],
    ],
  )
})

test('training: the summary adds up to the events', (t) => {
  const steps = ofType(events, 'step')
  const searches: SearchEvent[] = ofType(events, 'search')
  t.is(summary.steps, steps.length)
  t.deepEqual(
    summary.stages.map(({ steps: count }) => count),
    [36, 36, 36],
  )
  t.deepEqual(
    summary.stages.map(({ searchSteps }) => searchSteps),
    [9, 9, 0],
  )
  for (const [index, { candidates, chosen }] of searches.entries()) {
    t.is(summary.stages[index]!.depth, candidates[chosen]!.depth)
    t.is(candidates[chosen]!.score, Math.min(...candidates.map(({ score }) => score)))
  }
  const trained: StepEvent[] = steps.filter(({ phase, stage }) => phase === 'train' && stage === 1)
  t.true(
    trained.every(
      ({ depth, resolution }) => depth === summary.stages[0]!.depth && resolution === summary.stages[0]!.resolution,
    ),
  )
  t.true(summary.speedupTheoretical > 1, String(summary.speedupTheoretical))
  t.true(Math.abs(summary.seconds - summary.stages.reduce((sum, { seconds }) => sum + seconds, 0)) < 1e-9)
  t.true(summary.seconds >= steps.reduce((sum, { seconds }) => sum + seconds, 0))
  t.true(summary.totalSeconds >= (arrivals.at(-2)! - arrivals[0]!) / 1000)
  const last: EpochEvent = ofType(events, 'epoch').at(-1)!
  t.is(last.emas.length, 2)
  t.is(summary.top1, last.top1)
  t.is(summary.top1Ema, Math.max(...last.emas.map(({ top1 }) => top1)))
})

test('training: evaluations say how far they have come', (t) => {
  t.deepEqual(evaluated, Array(12).fill('48/48'))
  // Each search compares its candidates five times, on two batches of 16 images each.
  const rounds = ofType(events, 'search').flatMap(({ candidates }) => Array<number>(5).fill(2 * 16 * candidates.length))
  const counts = rounds.flatMap((total) => Array.from({ length: total / 16 }, (_, i) => `${16 * (i + 1)}/${total}`))
  t.deepEqual(compared, counts)
})

test('training: a finished run can be evaluated again, also at another resolution', async (t) => {
  const result = await evaluate(join(folder, 'whole'))
  t.is(result.top1, summary.top1!)
  t.is(result.images, 48)
  t.true((await evaluate(join(folder, 'whole'), { resolution: 12 })).top1 > 1 / 3)
  await t.throwsAsync(evaluate(join(folder, 'whole'), { resolution: 10 }), { message: /a multiple of 4 pixels/ })
})

test('training: with everything that DeiT regularises by, adapted to the stages, it runs, learns and resumes to the same end', async (t) => {
  const config = recipe({
    epochs: 6,
    augmentation: { crop: 'resized', scale: [0.5, 1], flip: false, randAugment: { magnitude: 5 }, repeats: 2 },
    regularization: { mixup: 0.8, cutmix: 1, erasing: 0.25, stochasticDepth: 0.1, adaptive: 'd1' },
  })
  const whole = await collect(train(config, { out: join(folder, 'regularised') }))
  const losses = ofType(whole, 'step').map(({ loss }) => loss)
  t.is(losses.length, 54)
  const { transformedPerSecond, decodedPerSecond, waitShare } = ofType(whole, 'end')[0]!.summary
  t.true(transformedPerSecond! > 0 && waitShare < 1)
  t.is(decodedPerSecond, null, 'all lie decoded in memory')
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value / values.length, 0)
  t.true(mean(losses.slice(-18)) < mean(losses.slice(0, 18)))
  const out = join(folder, 'regularised-resumed')
  const controller = new AbortController()
  await checkAbort(t, async () => {
    for await (const event of train(config, { out, signal: controller.signal }))
      if (event.type === 'step' && event.step === 30) controller.abort()
  })
  const resumed = await collect(train({ ...config, workers: 1 }, { out, resume: true }))
  t.deepEqual(
    ofType(resumed, 'step').map(({ step, loss }) => [step, loss]),
    losses.map((loss, step) => [step, loss]).slice(31),
  )
})

for (const schedule of ['original', 'prog', 'progstack', 'supernet'] as const)
  test(`training: the ${schedule} schedule runs to its end`, async (t) => {
    const kind = {
      kind: schedule,
      stages: 2,
      ratio: 0.5,
      operator: schedule === 'prog' ? 'mogrow' : 'interpolation',
    } as const
    const run = await collect(
      train(recipe({ epochs: 8, schedule: kind, search: { time: 'flops', epochs: 'auto', batches: 1 } })),
    )
    const end = ofType(run, 'end')[0]!.summary
    t.is(end.steps, 72)
    t.true(end.top1! > 0.5, `top-1 ${end.top1}`)
    if (schedule === 'original') t.is(end.speedupTheoretical, 1)
    else t.true(end.speedupTheoretical > 1)
  })

test('training: stopped by a signal in a search and resumed, it ends with the same bits', async (t) => {
  const out = join(folder, 'stopped')
  const controller = new AbortController()
  await checkAbort(t, async () => {
    for await (const event of train(recipe(), { out, signal: controller.signal }))
      if (event.type === 'step' && event.step === 4) controller.abort()
  })
  t.is(ofType(readEvents(out), 'checkpoint').at(-1)!.step, 5)
  const rest = await collect(train(recipe(), { out, resume: true }))
  t.is(ofType(rest, 'start')[0]!.resumedFrom, 5)
  t.is(await fingerprint(t, out), await fingerprint(t, join(folder, 'whole')))
  t.deepEqual(
    ofType(readEvents(out), 'step').map(({ step, loss }) => [step, loss]),
    ofType(events, 'step').map(({ step, loss }) => [step, loss]),
  )
})

test('training: stopped while an epoch is evaluated, it evaluates that epoch after the resume', async (t) => {
  const out = join(folder, 'evaluating')
  const controller = new AbortController()
  await checkAbort(t, async () => {
    for await (const event of train(recipe(), { out, signal: controller.signal }))
      if (event.type === 'step' && event.step === 107) controller.abort()
  })
  await collect(train(recipe(), { out, resume: true }))
  t.deepEqual(
    ofType(readEvents(out), 'epoch').map(({ epoch, top1 }) => [epoch, top1]),
    ofType(events, 'epoch').map(({ epoch, top1 }) => [epoch, top1]),
  )
  // Ended already: resuming once more only says so again.
  const again = await collect(train(recipe(), { out, resume: true }))
  t.is(ofType(again, 'step').length, 0)
  t.is(ofType(again, 'end')[0]!.summary.top1, summary.top1)
})

test('training: killed at random moments ten times and resumed, it ends with the same bits', async (t) => {
  t.timeout(300_000)

  const out = join(folder, 'killed')
  const script = join(folder, 'run.mts')
  const trainer = fileURLToPath(new URL('../../lib/training/trainer.ts', import.meta.url))
  await writeFile(
    script,
    `import { train } from ${JSON.stringify(trainer)}
import { hasCheckpoint } from ${JSON.stringify(trainer.replace('training/trainer.ts', 'report/run-folder.ts'))}
const config = ${JSON.stringify(recipe())}
const out = ${JSON.stringify(out)}
for await (const event of train(config, { out, resume: hasCheckpoint(out) })) console.log(event.type)
`,
  )
  const loader = fileURLToPath(import.meta.resolve('tsx'))
  let kills = 0
  for (let round = 0; kills < 10 || round < 11; round++) {
    const child = spawn(process.execPath, ['--import', loader, script], { stdio: ['ignore', 'pipe', 'inherit'] })
    // Killed after a random number of events, and a little later: between steps, in them, while a file is written.
    const [events, delay] = draw(3, Purpose.order, round, 0)
    const limit = kills < 10 ? 1 + (events! % 28) : Number.POSITIVE_INFINITY
    let seen = 0
    child.stdout.on('data', (chunk: Buffer) => {
      seen += chunk.toString().split('\n').length - 1
      if (seen >= limit) setTimeout(() => child.kill('SIGKILL'), delay! % 25)
    })
    const code = await new Promise<number | null>((resolve) => child.on('exit', (status) => resolve(status)))
    if (code === null) kills++
    else {
      t.is(code, 0)
      if (kills >= 10) break
      await rm(out, { recursive: true, force: true }) // ended before it was killed: once more from the start
    }
  }
  t.is(kills, 10)
  t.is(await fingerprint(t, out), await fingerprint(t, join(folder, 'whole')))
  t.deepEqual(
    ofType(readEvents(out), 'step').map(({ step, loss }) => [step, loss]),
    ofType(events, 'step').map(({ step, loss }) => [step, loss]),
  )
})

test('training: a loss that is no longer finite stops the run and names the last good checkpoint', async (t) => {
  const out = join(folder, 'diverged')
  const wild = recipe({
    schedule: { kind: 'original' },
    optimizer: { learningRate: 1e30 },
    learningRate: { warmupEpochs: 2, warmupStart: 0 },
  })
  await t.throwsAsync(collect(train(wild, { out })), { code: 'NUMERIC', message: /The loss of step \d+ is/ })
})

test('training: resuming refuses an empty folder, another recipe and a damaged checkpoint', async (t) => {
  await t.throwsAsync(collect(train(recipe(), { out: join(folder, 'nothing'), resume: true })), {
    message: /There is no checkpoint/,
  })
  await t.throwsAsync(collect(train(recipe({ batch: 24 }), { out: join(folder, 'whole'), resume: true })), {
    message: /another recipe \(batch: 16 and 24\)/,
  })
  const out = join(folder, 'cut')
  await cp(join(folder, 'whole'), out, { recursive: true })
  for (const file of await readdir(join(out, 'checkpoints'))) await truncate(join(out, 'checkpoints', file), 5000)
  await t.throwsAsync(collect(train(recipe(), { out, resume: true })), { message: /not a valid safetensors file/ })
})

test('training: a damaged checkpoint gives way to an older sound one, with a notice, and the end is the same', async (t) => {
  const out = join(folder, 'damaged')
  const kept = recipe()
  const controller = new AbortController()
  await checkAbort(t, async () => {
    for await (const event of train(kept, { out, signal: controller.signal }))
      if (event.type === 'epoch' && event.epoch === 5) controller.abort()
  })
  const files = (await readdir(join(out, 'checkpoints'))).sort()
  t.is(files.length, 2)
  const newest = join(out, 'checkpoints', files[1]!)
  const bytes = await readFile(newest)
  bytes[bytes.length >> 1]! ^= 1
  await writeFile(newest, bytes)
  const resumed = await collect(train(kept, { out, resume: true }))
  const notices = ofType(resumed, 'notice').map(({ message }) => message)
  t.regex(
    notices.join('\n'),
    new RegExp(`${files[1]} .*checksum.*; an older checkpoint is used instead, .*${files[0]}`),
  )
  t.deepEqual(
    ofType(readEvents(out), 'step').map(({ step, loss }) => [step, loss]),
    ofType(events, 'step').map(({ step, loss }) => [step, loss]),
  )
})

test('training: an output folder that cannot be made is an error before anything is trained', async (t) => {
  await writeFile(join(folder, 'file'), '')
  await t.throwsAsync(collect(train(recipe(), { out: join(folder, 'file', 'run') })), { code: 'CHECKPOINT' })
})
