/**
 * Forward passes beside ONNX Runtime on the exported file, and PyTorch where timm is there, in turn, on as many threads:
 *   node --import tsx bench/inference.ts [--rounds 9] [--python PATH] [--out docs/results/inference.json]
 * Images a second at batch 32, milliseconds of one image at batch 1: medians over the rounds, ratios within them.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { exportOnnx } from '../lib/export/onnx/export-onnx.js'
import type { TrainedModel } from '../lib/models/model-file.js'
import { initialValues } from '../lib/models/parameters.js'
import { createModel } from '../lib/models/registry.js'
import { openDevice } from '../lib/native.js'
import { describeMachine } from '../lib/report/machine.js'
import { table } from '../lib/report/table.js'
import { createSession } from '../lib/session/session.js'
import { median, startWorker } from './worker.js'

const { values } = parseArgs({
  options: {
    models: { type: 'string', default: 'deit_tiny_patch16_224,resnet50' },
    rounds: { type: 'string', default: '9' },
    python: { type: 'string', default: 'python3' },
    out: { type: 'string' },
  },
})
const rounds = Number(values.rounds)
const device = await openDevice('cpu')
const { threads } = device

type Run = () => Promise<unknown>

async function seconds(run: Run): Promise<number> {
  await setTimeout(150) // threads that wait for work spin for a while
  const begun = performance.now()
  await run()
  return (performance.now() - begun) / 1000
}

const results = []
for (const name of values.models.split(',')) {
  const model = createModel(name)
  const { imageSize: side, channels } = model
  const weights = new Map(model.parameters.map((each) => [each.name, initialValues(each, 0)]))
  const description = { resolution: side, channels, classCount: model.classes, classes: null, name } as TrainedModel
  const file = exportOnnx(model, weights, description, { preprocessing: false, softmax: false })
  const session = await createSession({ device, model, weights, training: false })
  const runtime = await InferenceSession.create(file, { intraOpNumThreads: threads, interOpNumThreads: 1 })
  const peer = startWorker(values.python, [join(import.meta.dirname, 'inference_peer.py'), name, String(threads)])
  const hasPeer = (await peer.ask('ready')) !== undefined
  for (const batch of [1, 32]) {
    const shape = [batch, side, side, channels]
    const data = Float32Array.from({ length: batch * side * side * channels }, (_, i) => ((i * 7919) % 255) / 127 - 1)
    const input = new Tensor('float32', data, [batch, channels, side, side])
    const runs: Record<string, Run> = {
      autoprog: () => session.forward({ images: { data, shape } }),
      onnxruntime: () => runtime.run({ pixel_values: input }),
      ...(hasPeer && { pytorch: () => peer.ask(String(batch)) }),
    }
    const taken = Object.fromEntries(Object.keys(runs).map((key) => [key, [] as number[]]))
    for (let round = -2; round < rounds; round++)
      for (const [key, run] of Object.entries(runs)) {
        const took = await seconds(run)
        if (round >= 0) taken[key]!.push(took)
      }
    const ratio = (key: string) => taken[key] && median(taken[key].map((each, round) => each / taken.autoprog![round]!))
    const medians = Object.fromEntries(Object.entries(taken).map(([key, list]) => [key, median(list)]))
    const result = {
      model: name,
      batch,
      seconds: medians,
      ratio: { onnxruntime: ratio('onnxruntime'), pytorch: ratio('pytorch') },
    }
    results.push(result)
    console.error(JSON.stringify(result))
  }
  peer.stop()
  await session.close()
}
await device.close()

const figure = (value: number | undefined) => (value === undefined ? '–' : `${value.toFixed(2)}x`)
console.log(
  table(
    ['model', 'batch', 'ours', 'images/s', 'against ONNX Runtime', 'against PyTorch'],
    results.map(({ model, batch, seconds: { autoprog }, ratio }) => [
      ...[model, String(batch), `${(1000 * autoprog!).toFixed(1)} ms`, (batch / autoprog!).toFixed(1)],
      ...[figure(ratio.onnxruntime), figure(ratio.pytorch)],
    ]),
  ),
)
if (values.out !== undefined)
  writeFileSync(
    values.out,
    `${JSON.stringify({ date: new Date().toISOString(), machine: describeMachine(), threads, rounds, results }, null, 2)}\n`,
  )
