/**
 * The convolutions of ResNet-50 at 224 pixels, each with both gradients, beside PyTorch's on the same processor, in turn:
 *   node --import tsx bench/convolution.ts [--python PATH] [--batch 8] [--rounds 5] [--out docs/results/convolution.json]
 * Two threads each, fp32. PyTorch has its images once with channels first, as is its habit, and once with channels last.
 * Without PyTorch only our own figures are printed.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { differentiate } from '../lib/graph/autodiff.js'
import { compile } from '../lib/graph/compile.js'
import { addInput, addOutput, addTensor, createGraph } from '../lib/graph/graph.js'
import { sizeOf } from '../lib/graph/tensor.js'
import type { Device } from '../lib/native.js'
import { addon, openDevice } from '../lib/native.js'
import { add, convolution } from '../lib/ops/index.js'
import { describeMachine } from '../lib/report/machine.js'
import { table } from '../lib/report/table.js'
import { median, startWorker } from './worker.js'

const { values } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    batch: { type: 'string', default: '8' },
    rounds: { type: 'string', default: '5' },
    out: { type: 'string' },
  },
})
const batch = Number(values.batch)
const layouts = ['channels_first', 'channels_last'] as const

/** Channels in and out, kernel, stride, padding, side of the image, and how many of them the network has. */
const shapes = [
  [3, 64, 7, 2, 3, 224, 1],
  [64, 64, 1, 1, 0, 56, 1],
  [64, 64, 3, 1, 1, 56, 3],
  [64, 256, 1, 1, 0, 56, 4],
  [256, 64, 1, 1, 0, 56, 2],
  [256, 128, 1, 1, 0, 56, 1],
  [128, 128, 3, 2, 1, 56, 1],
  [128, 512, 1, 1, 0, 28, 4],
  [256, 512, 1, 2, 0, 56, 1],
  [512, 128, 1, 1, 0, 28, 3],
  [128, 128, 3, 1, 1, 28, 3],
  [512, 256, 1, 1, 0, 28, 1],
  [256, 256, 3, 2, 1, 28, 1],
  [256, 1024, 1, 1, 0, 14, 6],
  [512, 1024, 1, 2, 0, 28, 1],
  [1024, 256, 1, 1, 0, 14, 5],
  [256, 256, 3, 1, 1, 14, 5],
  [1024, 512, 1, 1, 0, 14, 1],
  [512, 512, 3, 2, 1, 14, 1],
  [512, 2048, 1, 1, 0, 7, 3],
  [1024, 2048, 1, 2, 0, 14, 1],
  [2048, 512, 1, 1, 0, 7, 2],
  [512, 512, 3, 1, 1, 7, 2],
] as const

/** Runs a convolution with its gradients; answers the seconds of each op. */
async function prepare(device: Device, [channels, out, kernel, stride, padding, side]: (typeof shapes)[number]) {
  const graph = createGraph()
  const x = addInput(graph, 'x', [batch, side, side, channels], 'f32', false)
  const weight = addTensor(graph, 'weight', [out, channels, kernel, kernel], { arena: 'weights', offset: 0 })
  const y = convolution(graph, x, weight, { stride, padding })
  addOutput(graph, 'y', y, false)
  const dy = addInput(graph, 'dy', y.shape, 'f32', false)
  const [dx] = differentiate(graph, [{ tensor: y, gradient: dy }], add, channels === 3 ? [] : [x])
  if (dx) addOutput(graph, 'dx', dx, false)
  const bytes = 4 * sizeOf(weight.shape)
  const session = await addon().createSession(device.handle, [0, bytes, bytes])
  await addon().writeArena(session, 1, 0, new Float32Array(sizeOf(weight.shape)).fill(0.01))
  const program = await addon().createProgram(session, compile(graph, 1, 1))
  const inputs = { x: new Float32Array(sizeOf(x.shape)).fill(0.5), dy: new Float32Array(sizeOf(y.shape)).fill(0.25) }
  const macs = graph.nodes.reduce((sum, node) => sum + node.op.cost(node.inputs, node.outputs, node.attributes), 0)
  let before: Record<string, number> = {}
  return {
    gigaflop: (2 * macs * (dx ? 3 : 2)) / 1e9,
    run: async () => {
      await addon().runProgram(program, inputs)
      const after = (await addon().programSeconds(program))!
      const seconds = (op: string) => (after[op] ?? 0) - (before[op] ?? 0)
      const result = ['convolution', 'convolutionGradientInput', 'convolutionGradientWeight'].map(seconds)
      before = after
      return result
    },
    close: () => {
      addon().closeProgram(program)
      addon().closeSession(session)
    },
  }
}

const sum = (list: readonly number[]) => list.reduce((total, value) => total + value, 0)
const device = await openDevice('cpu', { threads: 2 })
const peer = startWorker(values.python, [fileURLToPath(new URL('convolution_peer.py', import.meta.url))])
const version = (await peer.ask(''))?.version ?? null

async function measure(shape: (typeof shapes)[number]) {
  const [channels, out, kernel, stride, padding, side, count] = shape
  const ours = await prepare(device, shape)
  const mine: number[][] = []
  const theirs: Record<string, number[]> = Object.fromEntries(layouts.map((layout) => [layout, []]))
  for (let round = -1; round < Number(values.rounds); round++) {
    await ours.run() // for a while the peer's threads spin where ours are to run
    const seconds = await ours.run()
    if (round >= 0) mine.push(seconds)
    for (const layout of version === null ? [] : layouts) {
      const answer = await peer.ask(`${batch} ${side} ${channels} ${out} ${kernel} ${stride} ${padding} ${layout}`)
      if (answer && round >= 0) theirs[layout]!.push(Number(answer.forward) + Number(answer.backward))
    }
  }
  ours.close()
  const ops = [0, 1, 2].map((op) => median(mine.map((seconds) => seconds[op]!)))
  const seconds = median(mine.map(sum))
  const torch = version === null ? undefined : layouts.map((layout) => median(theirs[layout]!))
  return {
    name: `${channels} -> ${out}, ${kernel} x ${kernel}, stride ${stride}, ${side} px`,
    count,
    ops,
    seconds,
    gigaflops: ours.gigaflop / seconds,
    torch,
  }
}

const results: Awaited<ReturnType<typeof measure>>[] = []
for (const shape of shapes) results.push(await measure(shape))
peer.stop()
await device.close()

const milliseconds = (value: number | undefined) => (value === undefined ? 'none' : (1000 * value).toFixed(1))
const best = (torch: readonly number[] | undefined) => (torch ? Math.min(...torch) : Number.NaN)
const whole = (of: (result: (typeof results)[number]) => number) =>
  sum(results.map((result) => result.count * of(result)))
const rows = results.map(({ name, count, ops, seconds, gigaflops, torch }) => [
  `${name}${count > 1 ? ` (${count})` : ''}`,
  ...ops.map(milliseconds),
  milliseconds(seconds),
  gigaflops.toFixed(0),
  ...layouts.map((_, index) => milliseconds(torch?.[index])),
  torch ? `${(best(torch) / seconds).toFixed(2)}x` : 'none',
])
const total = [0, 1, 2].map((op) => whole(({ ops }) => ops[op]!))
const totals = {
  seconds: whole(({ seconds }) => seconds),
  torch: layouts.map((_, index) => whole((r) => r.torch?.[index] ?? Number.NaN)),
}
rows.push([
  'the network',
  ...total.map(milliseconds),
  milliseconds(totals.seconds),
  (whole(({ gigaflops, seconds }) => gigaflops * seconds) / totals.seconds).toFixed(0),
  ...totals.torch.map(milliseconds),
  `${(Math.min(...totals.torch) / totals.seconds).toFixed(2)}x`,
])
console.log(
  table(
    ['convolution (how many)', 'forward', 'dx', 'dweight', 'ms', 'GFLOP/s', 'PyTorch, NCHW', 'NHWC', 'faster'],
    rows,
    1,
  ),
)
if (values.out) {
  mkdirSync(dirname(values.out), { recursive: true })
  writeFileSync(
    values.out,
    `${JSON.stringify({ bench: 'convolution', date: new Date().toISOString(), machine: describeMachine(), torch: version, batch, results, totals }, null, 2)}\n`,
  )
}
