/**
 * A full training step beside PyTorch's on the same machine, steps of both in turn:
 *   node --import tsx bench/step.ts [--device cpu|cuda] [--precision fp32,bf16,fp16] [--python PATH] [--rounds 5]
 *                                   [--out docs/results/step.json]
 * PyTorch and timm must be importable by that Python; without them only our own figures are printed. On a GPU the peers
 * are eager PyTorch and torch.compile, both under autocast in bf16 and fp16, with their images on the device already;
 * ours travel there while the step before runs.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { openDevice } from '../lib/index.js'
import { createModel } from '../lib/models/registry.js'
import { describeMachine } from '../lib/report/machine.js'
import { table } from '../lib/report/table.js'
import { median, startWorker } from './worker.js'

const { values } = parseArgs({
  options: {
    device: { type: 'string', default: 'cpu' },
    precision: { type: 'string', default: 'fp32' },
    python: { type: 'string', default: 'python3' },
    rounds: { type: 'string', default: '5' },
    out: { type: 'string' },
  },
})
const gpu = values.device !== 'cpu'
const shapes = gpu
  ? ([
      ['deit_small_patch16_224', 256, 224],
      ['deit_tiny_patch16_224', 256, 224],
      ['volo_d1_224', 256, 224],
      ['volo_d2_224', 128, 224],
      ['resnet50', 256, 224],
    ] as const)
  : ([
      ['deit_tiny_patch16_224', 32, 224],
      ['deit_small_patch16_224', 16, 224],
      ['deit_tiny_patch16_224', 32, 112],
      ['volo_d1_224', 8, 224],
      ['resnet50', 8, 224],
    ] as const)
const cases = shapes.flatMap((shape) => values.precision.split(',').map((precision) => [...shape, precision] as const))
const peerModes = gpu ? ['eager', 'compile'] : ['eager']
/** Steps of a round: enough that a GPU's take a while. */
const stepsPerRound = gpu ? 20 : 1
/** Milliseconds before each turn: threads that wait for work spin for a while where others are to run. */
const pause = 500
const here = (file: string) => fileURLToPath(new URL(file, import.meta.url))

/** GFLOP/s of the product that dominates the model's step. */
async function measureGemm(name: string, batch: number, resolution: number): Promise<number> {
  const model = createModel(name)
  const width = model.parameters.find((parameter) => /^(norm|fc)\.weight$/.test(parameter.name))!.shape.at(-1)!
  const rows = Math.min(16384, batch * ((resolution / 16) ** 2 + 1))
  const device = await openDevice(values.device, { threads: 2 })
  const seconds = await device.measureGemm(rows, 4 * width, width)
  await device.close()
  return (2 * rows * 4 * width * width) / seconds / 1e9
}

async function run([name, batch, resolution, precision]: (typeof cases)[number]) {
  const parameters = [name, String(batch), String(resolution), values.device, precision]
  const ours = startWorker(process.execPath, [
    '--import',
    fileURLToPath(import.meta.resolve('tsx')),
    here('step-worker.ts'),
    ...parameters,
  ])
  const peers = peerModes.map((mode) => ({
    mode,
    worker: startWorker(values.python, [here('step_peer.py'), ...parameters, mode]),
    seconds: [] as number[],
    lives: true,
  }))
  await ours.ask('warm')
  for (const peer of peers) peer.lives = (await peer.worker.ask('warm')) !== undefined
  const mine: number[] = []
  for (let round = 0; round < Number(values.rounds); round++) {
    await setTimeout(pause)
    mine.push(Number((await ours.ask(`go ${stepsPerRound}`))!.seconds))
    for (const peer of peers.filter(({ lives }) => lives)) {
      await setTimeout(pause)
      const answer = await peer.worker.ask(`go ${stepsPerRound}`)
      if (answer) peer.seconds.push(Number(answer.seconds))
      else peer.lives = false
    }
  }
  const end = (await ours.ask('end')) as {
    peakMegabytes: number
    javascriptShare: number
    eventLoopDelayP99: number
    ops: Record<string, number>
  }
  const torch = []
  for (const { mode, worker, seconds, lives } of peers) {
    if (lives) {
      const { peakMegabytes, version } = (await worker.ask('end')) as { peakMegabytes: number; version: string }
      const ratio = median(seconds.map((each, round) => each / mine[round]!))
      torch.push({ mode, version, imagesPerSecond: batch / median(seconds), ratio, seconds, peakMegabytes })
    }
    worker.stop()
  }
  ours.stop()
  const gemm = await measureGemm(name, batch, resolution) // last, when nothing else runs
  const all = Object.values(end.ops).reduce((sum, seconds) => sum + seconds, 0)
  const products = Object.entries(end.ops).reduce(
    (sum, [op, seconds]) => sum + (/^(linear|convolution)/.test(op) ? seconds : 0),
    0,
  )
  // A training step computes each forward product three times.
  const flops = 6 * createModel(name).flops({ resolution }) * batch
  return {
    model: name,
    batch,
    resolution,
    precision,
    imagesPerSecond: batch / median(mine),
    seconds: mine,
    torch,
    gemmGigaflops: gemm,
    stepGigaflops: flops / median(mine) / 1e9,
    productShare: all > 0 ? products / all : null,
    javascriptShare: end.javascriptShare,
    eventLoopDelayP99: end.eventLoopDelayP99,
    peakMegabytes: end.peakMegabytes,
    ops: end.ops,
  }
}

const results = []
for (const each of cases) results.push(await run(each))
const share = (value: number | null, digits: number) =>
  value === null ? 'unknown' : `${(100 * value).toFixed(digits)} %`
const rows = results.map((result) => [
  `${result.model} ${result.batch} x ${result.resolution}, ${result.precision}`,
  result.imagesPerSecond.toFixed(1),
  ...peerModes.map((mode) => {
    const peer = result.torch.find((each) => each.mode === mode)
    return peer ? `${peer.imagesPerSecond.toFixed(1)} (${peer.ratio.toFixed(2)}x)` : 'none'
  }),
  `${result.stepGigaflops.toFixed(0)} of ${result.gemmGigaflops.toFixed(0)}`,
  share(result.productShare, 0),
  share(result.javascriptShare, 2),
  `${(1000 * result.eventLoopDelayP99).toFixed(1)} ms`,
  [result, ...result.torch].map(({ peakMegabytes }) => peakMegabytes.toFixed(0)).join(' / '),
])
console.log(
  table(
    [
      'model, batch x pixels',
      'images/s',
      ...peerModes.map((mode) => `PyTorch, ${mode}`),
      'GFLOP/s of fp32 GEMM',
      'products',
      'JavaScript',
      'loop p99',
      'peak MB',
    ],
    rows,
    1,
  ),
)
if (values.out) {
  mkdirSync(dirname(values.out), { recursive: true })
  writeFileSync(
    values.out,
    `${JSON.stringify({ bench: 'step', date: new Date().toISOString(), machine: describeMachine(), results }, null, 2)}\n`,
  )
}
