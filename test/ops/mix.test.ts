import type { ExecutionContext } from 'ava'
import type { Mix } from '../../lib/data/image/mix.js'
import { compile } from '../../lib/graph/compile.js'
import type { Graph } from '../../lib/graph/graph.js'
import { addInput, addOutput, addTensor, createGraph } from '../../lib/graph/graph.js'
import { lowerPrecision } from '../../lib/graph/precision.js'
import type { Tensor } from '../../lib/graph/tensor.js'
import { addon } from '../../lib/native.js'
import {
  cast,
  eraseImages,
  linear,
  mixImages,
  mixTargets,
  mixTokens,
  normalizeImages,
  oneHot,
  patches,
} from '../../lib/ops/index.js'
import { mixValues } from '../../lib/session/mixing.js'
import { openTestDevice } from '../device.js'
import { assertClose, goldenJson, goldenTensors, relativeError } from '../golden.js'
import { same } from '../same.js'
import { test } from '../serial.js'
import type { OpCase } from './harness.js'
import { randomValues, runCase } from './harness.js'
import { reducedTypes } from './reduced.js'

const device = await openTestDevice()
const golden = await goldenTensors('augment')
const facts = await goldenJson<Facts>('augment')
test.after.always(() => device.close())

interface Facts {
  mix: { tag: string; lambda_: number; box?: Required<Mix>['box'] }[]
}

const mixedShape = golden.shape('mix/images')
for (const { tag, lambda_, box } of facts.mix)
  test(`mixing against timm: ${tag}`, async (t) => {
    const mix = mixValues(box ? { box } : { lambda: lambda_ }, mixedShape[1]!)
    assertClose(t, [mix[1]!], [lambda_], 1e-6, 'share')
    const { outputs } = await runCase(t, device, {
      name: tag,
      inputs: {
        images: { shape: mixedShape, values: golden.bytes('mix/images') },
        crops: { shape: [4, 3], values: new Int32Array(12) },
        labels: { shape: [4], values: golden.ints('mix/labels') },
        mix: { shape: [6], values: mix },
      },
      build: (graph, inputs) => ({
        images: mixImages(
          graph,
          normalizeImages(graph, inputs.images!, inputs.crops!, {
            ...{ height: mixedShape[1]!, width: mixedShape[2]!, pad: 0 },
            ...{ mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] },
          }),
          inputs.mix!,
        ),
        targets: mixTargets(graph, oneHot(graph, inputs.labels!, 7, 0.1), inputs.mix!),
      }),
    })
    assertClose(t, outputs.images!, golden.floats(`mix/${tag}/images`), 1e-5, 'images')
    assertClose(t, outputs.targets!, golden.floats(`mix/${tag}/targets`), 1e-5, 'targets')
  })

/** From the definition, in doubles; `mix` as the device reads it. */
function reference(images: Float32Array, shape: readonly number[], mix: ArrayLike<number>): number[] {
  const [batch, height, width, channels] = shape as [number, number, number, number]
  const [blend, , top, bottom, left, right] = Array.from(mix) as [number, number, number, number, number, number]
  const size = height * width * channels
  return Array.from(images, (value, index) => {
    const image = Math.floor(index / size)
    const partner = images[(batch - 1 - image) * size + (index % size)]!
    const row = Math.floor((index % size) / (width * channels))
    const column = Math.floor(index / channels) % width
    const inside = row >= top && row < bottom && column >= left && column < right
    return inside ? partner : blend * value + (1 - blend) * partner
  })
}

async function run(
  t: ExecutionContext,
  images: Float32Array,
  shape: readonly number[],
  mix: ArrayLike<number>,
): Promise<Float32Array> {
  const { outputs } = await runCase(t, device, {
    name: 'mixImages',
    inputs: { images: { shape, values: images }, mix: { shape: [6], values: Float32Array.from(mix) } },
    build: (graph, inputs) => ({ y: mixImages(graph, inputs.images!, inputs.mix!) }),
  })
  return outputs.y!
}

const mixes = {
  mixup: [0.3, 0.3, 0, 0, 0, 0],
  nothing: [1, 1, 0, 0, 0, 0],
  everything: [1, 0, 0, 99, 0, 99],
  corner: [1, 0.5, 0, 1, 0, 1],
  'last pixel': [1, 0.5, 4, 5, 6, 7],
  'a row': [1, 0.5, 2, 3, 0, 7],
  'a column beside a blend': [0.6, 0.5, 0, 5, 3, 4],
  'no width': [0.25, 0.25, 1, 4, 3, 3],
  'turned around': [0.25, 0.25, 4, 1, 5, 2],
  'beyond the image': [1, 0.5, -(2 ** 40), 2, 3, Number.POSITIVE_INFINITY],
  'fractions of pixels': [0.7, 0.5, 0.5, 2.5, 1.25, 3.75],
}
for (const [name, mix] of Object.entries(mixes))
  test(`mixImages follows its definition: ${name}`, async (t) => {
    for (const shape of [
      [4, 5, 7, 3], // rows of 21 values, one by one
      [3, 5, 8, 1], // an odd batch: the middle image is its own partner
      [2, 6, 4, 3],
      [1, 5, 7, 1],
    ]) {
      const images = randomValues(shape, 9)
      const y = await run(t, images, shape, mix)
      assertClose(t, y, reference(images, shape, mix), 1e-6, `${shape}`)
      if (name === 'nothing') same(t, y, images)
    }
  })

test('mixTargets mixes rows by their share alone', async (t) => {
  for (const [rows, classes] of [
    [4, 7],
    [3, 10],
    [1, 5],
  ] as const) {
    const targets = randomValues([rows, classes], 3)
    const { outputs } = await runCase(t, device, {
      name: 'mixTargets',
      inputs: {
        targets: { shape: [rows, classes], values: targets },
        mix: { shape: [6], values: Float32Array.of(1, 0.35, 0, 2, 0, 2) },
      },
      build: (graph, inputs) => ({ y: mixTargets(graph, inputs.targets!, inputs.mix!) }),
    })
    const share = Math.fround(0.35)
    const wanted = Array.from(targets, (value, index) => {
      const partner = targets[(rows - 1 - Math.floor(index / classes)) * classes + (index % classes)]!
      return share * value + (1 - share) * partner
    })
    assertClose(t, outputs.y!, wanted, 1e-6, `${rows} x ${classes}`)
  }
})

/** From the definition: inside of the box, times `scale`, the partner's values. */
function mixedTokens(x: Float32Array, shape: readonly number[], box: readonly number[], scale: number): Float32Array {
  const [batch, height, width, channels] = shape as [number, number, number, number]
  const [top, left, bottom, right] = box.map((edge) => edge * scale) as [number, number, number, number]
  const size = height * width * channels
  return x.map((value, index) => {
    const row = Math.floor((index % size) / (width * channels))
    const column = Math.floor(index / channels) % width
    const inside = row >= top && row < bottom && column >= left && column < right
    return inside ? x[(batch - 1 - Math.floor(index / size)) * size + (index % size)]! : value
  })
}

const boxes = {
  nothing: [0, 0, 0, 0],
  everything: [0, 0, 99, 99],
  inside: [1, 0, 2, 2],
  'one column': [0, 2, 3, 3],
  'beyond the map': [-5, 2, 2 ** 30, 2 ** 31 - 1],
  'beyond the map at the other end': [-(2 ** 31), -3, 2, 2],
  'turned around': [2, 2, 1, 1],
  outside: [50, 1, 60, 2],
}
const shapes = [
  [4, 6, 7, 3],
  [3, 5, 6, 8], // an odd batch: the middle image is its own partner
  [2, 4, 8, 2], // rows moved by four values, pixels not
  [1, 3, 3, 1],
]
const mixCase = (shape: readonly number[], box: readonly number[], scale: number, times = 1): OpCase => ({
  name: 'mixTokens',
  inputs: { x: { shape, values: randomValues(shape, 5) } },
  constants: { box: { shape: [4], values: Int32Array.from(box) } },
  build: (graph, inputs) => {
    let y = inputs.x!
    for (let i = 0; i < times; i++) y = mixTokens(graph, y, inputs.box!, scale)
    return { y }
  },
})
for (const [name, box] of Object.entries(boxes))
  test(`mixTokens: ${name}: follows its definition, is its own inverse and its own gradient`, async (t) => {
    for (const shape of shapes)
      for (const scale of [1, 2]) {
        const dy = randomValues(shape, 6)
        const { outputs, gradients } = await runCase(t, device, mixCase(shape, box, scale), { y: dy })
        same(t, outputs.y, mixedTokens(randomValues(shape, 5), shape, box, scale), `${shape}`)
        same(t, gradients.x, mixedTokens(dy, shape, box, scale), `gradient, ${shape}`)
        const twice = await runCase(t, device, mixCase(shape, box, scale, 2))
        same(t, twice.outputs.y, randomValues(shape, 5))
      }
  })

test('mixTokens: micro-batches hold pairs, so that the batch is mixed as a whole', async (t) => {
  const [batch, microBatch, rest] = [8, 4, [4, 5, 3]]
  const x = randomValues([batch, ...rest], 7)
  const graph = createGraph()
  const box = addInput(graph, 'box', [4], 'i32', false)
  const y = mixTokens(graph, addInput(graph, 'x', [microBatch, ...rest], 'f32'), box, 2)
  addOutput(graph, 'y', y, true)
  const session = await addon().createSession(device.handle, [0, 0])
  const program = await addon().createProgram(session, compile(graph, batch, microBatch))
  const results = await addon().runProgram(program, { x, box: Int32Array.of(0, 1, 1, 2) })
  addon().closeProgram(program)
  addon().closeSession(session)
  same(t, results.y, mixedTokens(x, [batch, ...rest], [0, 1, 1, 2], 2))
})

test('shapes that do not fit are named', (t) => {
  const graph = createGraph()
  const images = addTensor(graph, 'images', [2, 4, 4, 3])
  const mix = addTensor(graph, 'mix', [5])
  t.throws(() => mixImages(graph, images, mix), {
    message: /mixImages: Expected shape \[6\] for mix but received \[5\]/,
  })
  t.throws(() => mixTargets(graph, addTensor(graph, 't', [2, 3]), mix), { message: /mixTargets: Expected shape \[6\]/ })
  t.throws(() => mixImages(graph, addTensor(graph, 'i', [2, 4, 4]), mix), {
    message: /\[batch, height, width, channels\]/,
  })
  const box = addTensor(graph, 'box', [4], { type: 'i32' })
  t.throws(() => mixTokens(graph, images, mix, 2), {
    message: /mixTokens: Expected shape \[4\] for the box but received \[5\]/,
  })
  t.throws(() => mixTokens(graph, mix, box, 2), { message: /mixTokens: .*\[batch, height, width, channels\]/ })
  t.throws(() => eraseImages(graph, images, mix, mix, mix), {
    message: /eraseImages: Expected shape \[2, 4\] for boxes but received \[5\]/,
  })
})

// Patches of 2 x 2 pixels through the identity: the network's input, held in 16 bits from normalising on.
const shape = [4, 6, 8, 1]
const build = (graph: Graph, { images, crops, boxes, random, index, mix, identity }: Record<string, Tensor>) => {
  const attributes = { height: 6, width: 8, pad: 0, mean: [0.4], deviation: [0.2] }
  const erased = eraseImages(graph, normalizeImages(graph, images!, crops!, attributes), boxes!, random!, index!)
  return { y: linear(graph, patches(graph, mixImages(graph, erased, mix!), 2), identity!) }
}
const values = {
  images: Uint8Array.from({ length: 192 }, (_, i) => (i * 89) % 256),
  crops: new Int32Array(12),
  boxes: Int32Array.of(0, 0, 6, 8, 1, 1, 2, 5, 0, 0, 0, 0, 5, 7, 1, 1),
  random: Int32Array.of(1, 0, 2, 0),
  index: Int32Array.of(0, 1, 6, 7),
  mix: Float32Array.of(0.7, 0.7, 2, 4, 1, 6),
}
const opCase = {
  name: 'images in 16 bits',
  inputs: {
    images: { shape, values: values.images },
    crops: { shape: [4, 3], values: values.crops },
    boxes: { shape: [4, 4], values: values.boxes },
    random: { shape: [4], values: values.random },
    index: { shape: [4], values: values.index },
    mix: { shape: [6], values: values.mix },
    identity: {
      shape: [4, 4],
      values: Float32Array.from({ length: 16 }, (_, i) => (i % 5 === 0 ? 1 : 0)),
      parameter: true,
    },
  },
  build,
}
// Half a unit in the last place (2^-9 and 2^-12 relative), once after normalising and once after mixing.
for (const [low, tolerance] of reducedTypes)
  test(`in mixed precision: values rounded to ${low}`, async (t) => {
    const full = await runCase(t, device, opCase)
    const rounded = await runCase(t, device, opCase, {}, low)
    const error = relativeError(rounded.outputs.y!, full.outputs.y!)
    t.true(error > tolerance / 100 && error < tolerance, String(error))
  })

test('in mixed precision: no cast stands between the images and their patches', (t) => {
  const graph = createGraph()
  const tensors = Object.fromEntries(
    Object.entries(opCase.inputs).map(([name, { shape: extents, values: data }]) => [
      name,
      name === 'identity'
        ? addTensor(graph, name, extents, { arena: 'weights', offset: 0 })
        : addInput(
            graph,
            name,
            extents,
            data instanceof Float32Array ? 'f32' : data instanceof Int32Array ? 'i32' : 'u8',
          ),
    ]),
  )
  addOutput(graph, 'y', build(graph, tensors).y, false)
  const { nodes, tensors: held } = compile(lowerPrecision(graph, 'bf16', cast), 4, 4)
  t.deepEqual(
    nodes.map(({ op }) => op),
    ['cast', 'images', 'eraseImages', 'mixImages', 'patches', 'linear'], // the first one rounds the weights
  )
  for (const { op, outputs } of nodes.slice(1, 5)) t.is(held[outputs[0]!]!.type, 'bf16', op)
})
