/**
 * A full training step beside PyTorch's on the same machine, steps of both in turn:
 *   node --import tsx bench/step.ts [--python PATH] [--rounds 5] [--out docs/results/step.json]
 * PyTorch and timm must be importable by that Python; without them only our own figures are printed.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { openDevice } from '../lib/index.js'
import { createModel } from '../lib/models/registry.js'
import { describeMachine } from '../lib/report/machine.js'
import { table } from '../lib/report/table.js'

const { values } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    rounds: { type: 'string', default: '5' },
    out: { type: 'string' },
  },
})
const cases = [
  ['deit_tiny_patch16_224', 32, 224],
  ['deit_small_patch16_224', 16, 224],
  ['deit_tiny_patch16_224', 32, 112],
] as const
const here = (file: string) => fileURLToPath(new URL(file, import.meta.url))

interface Worker {
  stop(): void
  ask(command: string): Promise<Record<string, unknown> | undefined>
}

/** A child process that answers each line with a line of JSON; undefined once it has died. */
function startWorker(command: string, args: readonly string[]): Worker {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  child.on('error', () => undefined)
  child.stdin.on('error', () => undefined)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    stop: () => {
      child.kill()
    },
    ask: async (line) => {
      child.stdin.write(`${line}\n`)
      const { value, done } = await lines.next()
      return done ? undefined : (JSON.parse(value) as Record<string, unknown>)
    },
  }
}

const median = (list: readonly number[]) => [...list].sort((a, b) => a - b)[list.length >> 1]!

/** GFLOP/s of the product that dominates the model's step. */
async function measureGemm(name: string, batch: number, resolution: number): Promise<number> {
  const model = createModel(name)
  const width = model.parameters.find((parameter) => parameter.name === 'norm.weight')!.shape[0]!
  const rows = Math.min(16384, batch * ((resolution / 16) ** 2 + 1))
  const device = await openDevice('cpu', { threads: 2 })
  const seconds = await device.measureGemm(rows, 4 * width, width)
  await device.close()
  return (2 * rows * 4 * width * width) / seconds / 1e9
}

async function run([name, batch, resolution]: (typeof cases)[number]) {
  const parameters = [name, String(batch), String(resolution)]
  const ours = startWorker(process.execPath, [
    '--import',
    fileURLToPath(import.meta.resolve('tsx')),
    here('step-worker.ts'),
    ...parameters,
  ])
  const peer = startWorker(values.python, [here('step_peer.py'), ...parameters])
  await ours.ask('warm')
  let peerLives = (await peer.ask('warm')) !== undefined
  const [mine, theirs]: [number[], number[]] = [[], []]
  for (let round = 0; round < Number(values.rounds); round++) {
    mine.push(Number((await ours.ask('go'))!.seconds))
    const answer = peerLives ? await peer.ask('go') : undefined
    if (answer) theirs.push(Number(answer.seconds))
    else peerLives = false
  }
  const end = (await ours.ask('end')) as {
    peakMegabytes: number
    javascriptShare: number
    eventLoopDelayP99: number
    ops: Record<string, number>
  }
  const peerEnd = peerLives ? ((await peer.ask('end')) as { peakMegabytes: number; version: string }) : undefined
  ours.stop()
  peer.stop()
  const gemm = await measureGemm(name, batch, resolution) // last, when nothing else runs
  const all = Object.values(end.ops).reduce((sum, seconds) => sum + seconds, 0)
  const products = Object.entries(end.ops).reduce(
    (sum, [op, seconds]) => sum + (op.startsWith('linear') ? seconds : 0),
    0,
  )
  // A training step computes each forward product three times.
  const flops = 6 * createModel(name).flops({ resolution }) * batch
  return {
    model: name,
    batch,
    resolution,
    imagesPerSecond: batch / median(mine),
    seconds: mine,
    torchImagesPerSecond: peerEnd ? batch / median(theirs) : null,
    torchSeconds: theirs,
    torchVersion: peerEnd?.version ?? null,
    ratio: peerEnd ? median(theirs.map((seconds, round) => seconds / mine[round]!)) : null,
    gemmGigaflops: gemm,
    stepGigaflops: flops / median(mine) / 1e9,
    productShare: products / all,
    javascriptShare: end.javascriptShare,
    eventLoopDelayP99: end.eventLoopDelayP99,
    peakMegabytes: end.peakMegabytes,
    torchPeakMegabytes: peerEnd?.peakMegabytes ?? null,
    ops: end.ops,
  }
}

const results = []
for (const each of cases) results.push(await run(each))
const rows = results.map((result) => [
  `${result.model} ${result.batch} x ${result.resolution}`,
  result.imagesPerSecond.toFixed(1),
  result.torchImagesPerSecond?.toFixed(1) ?? 'none',
  result.ratio ? `${result.ratio.toFixed(2)}x` : 'none',
  `${result.stepGigaflops.toFixed(0)} of ${result.gemmGigaflops.toFixed(0)}`,
  `${(100 * result.productShare).toFixed(0)} %`,
  `${(100 * result.javascriptShare).toFixed(2)} %`,
  `${(1000 * result.eventLoopDelayP99).toFixed(1)} ms`,
  `${result.peakMegabytes.toFixed(0)} / ${result.torchPeakMegabytes?.toFixed(0) ?? 'none'} MB`,
])
console.log(
  table(
    [
      'model, batch x pixels',
      'images/s',
      'PyTorch',
      'ratio',
      'GFLOP/s of GEMM',
      'products',
      'JavaScript',
      'loop p99',
      'peak memory',
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
