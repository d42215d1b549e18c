/**
 * A full training step beside PyTorch's on the same processor, steps of both in turn, two threads each:
 *   node --import tsx bench/step.ts [--precision fp32,bf16,fp16] [--python PATH] [--rounds 5] [--out docs/results/step.json]
 * PyTorch and timm must be importable by that Python; without them only our own figures are printed. On a GPU:
 * scripts/gpu-check bench.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { openDevice } from '../lib/index.js'
import { createModel } from '../lib/models/registry.js'
import { describeMachine } from '../lib/report/machine.js'
import { table } from '../lib/report/table.js'
import { type OurEnd, startOurs, startPeer, stepFlops } from './step-case.js'
import { type Measured, measureInTurn, median } from './worker.js'

const { values } = parseArgs({
  options: {
    precision: { type: 'string', default: 'fp32' },
    python: { type: 'string', default: 'python3' },
    rounds: { type: 'string', default: '5' },
    out: { type: 'string' },
  },
})
const shapes = [
  ['deit_tiny_patch16_224', 32, 224],
  ['deit_small_patch16_224', 16, 224],
  ['deit_tiny_patch16_224', 32, 112],
  ['volo_d1_224', 8, 224],
  ['resnet50', 8, 224],
] as const
const cases = shapes.flatMap(([model, batch, resolution]) =>
  values.precision.split(',').map((precision) => ({ model, batch, resolution, precision, device: 'cpu' })),
)

/** GFLOP/s of the product that dominates the model's step. */
async function measureGemm(name: string, batch: number, resolution: number): Promise<number> {
  const model = createModel(name)
  const width = model.parameters.find((parameter) => /^(norm|fc)\.weight$/.test(parameter.name))!.shape.at(-1)!
  const rows = Math.min(16384, batch * ((resolution / 16) ** 2 + 1))
  const device = await openDevice('cpu', { threads: 2 })
  const seconds = await device.measureGemm(rows, 4 * width, width)
  await device.close()
  return (2 * rows * 4 * width * width) / seconds / 1e9
}

async function run(each: (typeof cases)[number]) {
  const workers = [startOurs(each), startPeer(values.python, each, 'eager')]
  const [ours, peer] = await measureInTurn(workers, { rounds: Number(values.rounds), steps: 1, pause: 500 })
  for (const worker of workers) worker.stop()
  if (!ours) throw new Error(`our own step of ${each.model} in ${each.precision} has died`)
  const end = ours.end as unknown as OurEnd
  const peerResult = ({ seconds, end }: Measured) => ({
    ...{ mode: 'eager', version: String(end.version), peakMegabytes: Number(end.peakMegabytes) },
    imagesPerSecond: each.batch / median(seconds),
    ratio: median(seconds.map((time, round) => time / ours.seconds[round]!)),
    seconds,
  })
  const gemm = await measureGemm(each.model, each.batch, each.resolution) // last, when nothing else runs
  const all = Object.values(end.ops).reduce((sum, seconds) => sum + seconds, 0)
  const products = Object.entries(end.ops).reduce(
    (sum, [op, seconds]) => sum + (/^(linear|convolution)/.test(op) ? seconds : 0),
    0,
  )
  return {
    ...each,
    imagesPerSecond: each.batch / median(ours.seconds),
    seconds: ours.seconds,
    torch: peer ? [peerResult(peer)] : [],
    gemmGigaflops: gemm,
    stepGigaflops: stepFlops(each) / median(ours.seconds) / 1e9,
    productShare: products / all,
    ...end,
  }
}

/** What has died has cost its own row; what has been measured by then is written. */
const results = []
const failures: string[] = []
for (const each of cases) {
  try {
    results.push(await run(each))
  } catch (error) {
    failures.push((error as Error).message)
  }
  if (values.out) {
    mkdirSync(dirname(values.out), { recursive: true })
    const document = { bench: 'step', date: new Date().toISOString(), machine: describeMachine(), results, failures }
    writeFileSync(values.out, `${JSON.stringify(document, null, 2)}\n`)
  }
}
const share = (value: number, digits: number) => `${(100 * value).toFixed(digits)} %`
console.log(
  table(
    [
      ...['model, batch x pixels', 'images/s', 'PyTorch', 'GFLOP/s of fp32 GEMM'],
      ...['products', 'JavaScript', 'loop p99', 'peak MB'],
    ],
    results.map((result) => [
      `${result.model} ${result.batch} x ${result.resolution}, ${result.precision}`,
      result.imagesPerSecond.toFixed(1),
      result.torch.map(({ imagesPerSecond, ratio }) => `${imagesPerSecond.toFixed(1)} (${ratio.toFixed(2)}x)`)[0] ??
        'none',
      `${result.stepGigaflops.toFixed(0)} of ${result.gemmGigaflops.toFixed(0)}`,
      share(result.productShare, 0),
      share(result.javascriptShare, 2),
      `${(1000 * result.eventLoopDelayP99).toFixed(1)} ms`,
      [result, ...result.torch].map(({ peakMegabytes }) => peakMegabytes.toFixed(0)).join(' / '),
    ]),
    1,
  ),
)
for (const failure of failures) console.error(failure)
process.exitCode = failures.length > 0 ? 1 : 0
