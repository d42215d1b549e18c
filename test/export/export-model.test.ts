import { existsSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { evaluateEncoded } from '../../lib/data/image/evaluation.js'
import { exportModel } from '../../lib/export/export-model.js'
import { checkExported } from '../../lib/export/onnx/check.js'
import { decodeModel, encodeModel } from '../../lib/export/onnx/schema.js'
import { openModel } from '../../lib/inference/open-model.js'
import { temporaryFolder } from '../data/images.js'
import { checkError } from '../error.js'
import { assertClose } from '../golden.js'
import { trainSmall } from '../inference/trained-run.js'
import { test } from '../serial.js'

const made = await trainSmall()
const model = await openModel(made.run, { device: 'cpu' })
const pictures = Object.values(made.pictures).flatMap((paths) => paths.slice(0, 10))
const logits = await model.logits(pictures)
const root = await temporaryFolder()
test.after.always(() => model.close())

/** Pixels as the model sees them, side by side. */
async function pixels(): Promise<Uint8Array> {
  const { resolution: size, channels, crop, interpolation } = model.description
  const evaluation = { fraction: crop, filter: interpolation }
  const parts = pictures.map(async (name) =>
    evaluateEncoded(await readFile(name), { name, size, channels, evaluation }),
  )
  return Buffer.concat(await Promise.all(parts))
}

test('twenty pictures have the same logits in ONNX Runtime', async (t) => {
  const out = join(root, 'model.onnx')
  t.deepEqual(await exportModel(made.run, out, { withPreprocessing: true }), { path: out, format: 'onnx', notices: [] })
  const session = await InferenceSession.create(out)
  const { resolution, channels } = model.description
  const images = new Tensor('uint8', await pixels(), [pictures.length, resolution, resolution, channels])
  const found = (await session.run({ images })).logits!.data as Float32Array
  assertClose(
    t,
    found,
    logits.flatMap((each) => [...each]),
    1e-4,
    'logits',
  )
})

test('plain safetensors are a model file as before', async (t) => {
  const out = join(root, 'deep', 'folder', 'copy.safetensors')
  await exportModel(made.run, out, {})
  const copy = await openModel(out, { device: 'cpu' })
  t.deepEqual(copy.description, model.description)
  assertClose(t, await copy.logits(pictures[0]!), logits[0]!, 1e-6, 'logits')
  await copy.close()
})

test('a folder for transformers holds the graph, the labels and what is done to images', async (t) => {
  const out = join(root, 'pets')
  await exportModel(join(made.run, 'best.safetensors'), out, { format: 'transformers' })
  t.deepEqual((await readdir(out)).sort(), ['config.json', 'onnx', 'preprocessor_config.json'])
  const config = JSON.parse(await readFile(join(out, 'config.json'), 'utf8')) as {
    id2label: object
    model_type: string
  }
  t.deepEqual(config.id2label, { 0: 'blue', 1: 'größer, red' })
  t.is(config.model_type, 'vit')
  const file = JSON.parse(await readFile(join(out, 'preprocessor_config.json'), 'utf8')) as Record<string, unknown>
  t.deepEqual(file.size, { shortest_edge: 27 })
  t.deepEqual(file.crop_size, { height: 24, width: 24 })
  t.is(file.resample, 3)
  t.deepEqual(file.image_mean, model.description.mean)
  const { graph } = decodeModel(await readFile(join(out, 'onnx', 'model.onnx')))
  t.deepEqual([graph.input[0]!.name, graph.output[0]!.name], ['pixel_values', 'logits'])
})

test('what is there stays, unless it may be written over', async (t) => {
  const out = join(root, 'taken.onnx')
  await writeFile(out, 'mine')
  checkError(t, await t.throwsAsync(exportModel(made.run, out)), {
    code: 'DATA',
    message: /taken\.onnx is there already/,
  })
  t.is(await readFile(out, 'utf8'), 'mine')
  await exportModel(made.run, out, { force: true })
  t.is(decodeModel(await readFile(out)).producerName, 'autoprog')
})

test('what cannot be exported is said, and nothing is left', async (t) => {
  const before = (await readdir(root)).sort()
  const refused = async (
    run: string,
    out: string,
    options: object,
    code: 'CONFIG' | 'CHECKPOINT' | 'DATA',
    message: RegExp,
  ) => checkError(t, await t.throwsAsync(exportModel(run, out, options)), { code, message })
  const out = join(root, 'never.onnx')
  await refused(join(root, 'nothing'), out, {}, 'CHECKPOINT', /There is no model and no run/)
  await refused(made.run, join(root, 'never.pt'), {}, 'CONFIG', /does not say which format/)
  await refused(join(root, 'model.onnx'), out, {}, 'CHECKPOINT', /is an ONNX file/)
  await refused(made.run, out, { format: 'tflite' }, 'CONFIG', /one of onnx, safetensors, transformers for format/)
  await refused(made.run, out, { format: 'safetensors', softmax: true }, 'CONFIG', /part of an ONNX graph/)
  await refused(made.run, join(root, 'taken.onnx', 'x.onnx'), {}, 'DATA', /Cannot write/)
  t.deepEqual((await readdir(root)).sort(), before)
  t.false(existsSync(out))
})

test('a graph that is not sound would be noticed', async (t) => {
  const file = decodeModel(await readFile(join(root, 'model.onnx')))
  const spoilt = (change: (graph: typeof file.graph) => void, message: RegExp) => {
    const copy = structuredClone(file)
    change(copy.graph)
    t.throws(() => checkExported(encodeModel(copy)), { message })
  }
  checkExported(encodeModel(file))
  spoilt((graph) => (graph.node as unknown[]).reverse(), /which is not there before it/)
  spoilt((graph) => (graph.initializer as unknown[]).push(graph.initializer[0]), /is there twice/)
  spoilt((graph) => ((graph.initializer[0] as unknown as { dims: number[] }).dims = [1, 2, 3]), /bytes instead of 24/)
  spoilt((graph) => ((graph.output[0] as { name: string }).name = 'x'), /the output x is not there/)
})
