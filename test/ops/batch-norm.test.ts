import { compile } from '../../lib/graph/compile.js'
import type { Graph } from '../../lib/graph/graph.js'
import { addInput, addOutput, addTensor, createGraph } from '../../lib/graph/graph.js'
import type { Tensor } from '../../lib/graph/tensor.js'
import { sizeOf } from '../../lib/graph/tensor.js'
import { addon } from '../../lib/native.js'
import type { BatchNormOptions } from '../../lib/ops/index.js'
import { batchNorm, linear } from '../../lib/ops/index.js'
import { openTestDevice } from '../device.js'
import { assertClose, goldenTensors } from '../golden.js'
import { same } from '../same.js'
import { test } from '../serial.js'
import { caseOf, goldenCases } from './golden-cases.js'
import type { OpCase, OpInput } from './harness.js'
import { checkGradients, compareGolden, randomValues, runCase } from './harness.js'
import { testReduced } from './reduced.js'

const device = await openTestDevice()
const batchNormCases = await goldenCases('batch_norm', ['weight', 'bias'])
const golden = await goldenTensors('ops')
test.after.always(() => device.close())

const training: BatchNormOptions = { training: true, momentum: 0.1, epsilon: 1e-5, relu: false }

/** Batch norm of `x` by the tensors named weight, bias, runningMean and runningVariance. */
function norm(graph: Graph, t: Readonly<Record<string, Tensor>>, options: Partial<BatchNormOptions> = {}): Tensor {
  const parameters = {
    weight: t.weight!,
    bias: t.bias!,
    runningMean: t.runningMean!,
    runningVariance: t.runningVariance!,
  }
  return batchNorm(graph, t.x!, parameters, {
    ...training,
    ...(t.residual && { residual: t.residual }),
    ...options,
  })
}

const positive = (values: Float32Array) => values.map((value) => 0.7 + 0.5 * value)

function parametersOf(channels: number, bias = 0.2): Record<string, OpInput> {
  return {
    weight: { shape: [channels], values: positive(randomValues([channels], 11)), parameter: true },
    bias: { shape: [channels], values: randomValues([channels], 12, bias), parameter: true },
  }
}

function runningOf(channels: number): Record<string, OpInput> {
  return {
    runningMean: { shape: [channels], values: randomValues([channels], 13, 0.2), parameter: true },
    runningVariance: { shape: [channels], values: positive(randomValues([channels], 14)), parameter: true },
  }
}

/** Values near -1 and 1: normalised, they stay away from 0, where the ReLU has its kink. */
function twoSided(shape: readonly number[], seed: number): Float32Array {
  const noise = randomValues(shape, seed, 0.25)
  return randomValues(shape, seed + 1000).map((value, index) => Math.sign(value) + noise[index]!)
}

/** Mean and biased variance of each channel, in double. */
function statisticsOf(values: ArrayLike<number>, channels: number): { mean: number[]; variance: number[] } {
  const rows = values.length / channels
  const column = (channel: number) => Array.from({ length: rows }, (_, row) => values[row * channels + channel]!)
  const mean = Array.from({ length: channels }, (_, c) => column(c).reduce((sum, value) => sum + value, 0) / rows)
  const variance = mean.map((center, c) => column(c).reduce((sum, value) => sum + (value - center) ** 2, 0) / rows)
  return { mean, variance }
}

for (const goldenCase of batchNormCases) {
  const { name, attributes, inputs } = goldenCase.facts
  const channels = inputs.x!.at(-1)!
  const running = (key: string): OpInput => ({
    shape: [channels],
    values: golden.floats(`${name}/${key}`),
    parameter: true,
  })
  test(`batch norm: ${name}`, async (t) => {
    const options = { training: attributes.training === true, epsilon: Number(attributes.eps) }
    const opCase = {
      ...caseOf(goldenCase, (graph, t) => ({ y: norm(graph, t, options) })),
      constants: { runningMean: running('running_mean'), runningVariance: running('running_var') },
    }
    const result = await runCase(t, device, opCase, { y: goldenCase.wanted.dy })
    compareGolden(t, name, result, goldenCase.wanted)
    const { parameters } = result
    const wanted = options.training ? `${name}/new_running_` : `${name}/running_`
    assertClose(t, parameters.runningMean!, golden.floats(`${wanted}mean`), 1e-5, 'running mean')
    assertClose(t, parameters.runningVariance!, golden.floats(`${wanted}var`), 1e-5, 'running variance')
  })
}

for (const [shape, relu, added] of [
  [[3, 5, 4, 7], false, false],
  [[3, 5, 4, 19], true, false],
  [[2, 3, 5, 70], true, true],
  [[1, 7, 5, 4], true, true],
  [[4, 9, 3], false, true],
] as const)
  for (const mode of [true, false])
    test(`batch norm: finite differences, ${shape}${relu ? ', ReLU' : ''}${added ? ', residual' : ''}, ${mode ? 'training' : 'inference'}`, (t) => {
      const x: OpInput = { shape, values: twoSided(shape, 21) }
      const residual: OpInput = { shape, values: randomValues(shape, 22, 0.1) }
      return checkGradients(t, device, {
        name: 'batchNorm',
        inputs: { x, ...parametersOf(shape.at(-1)!, 0.1), ...(added && { residual }) },
        constants: runningOf(shape.at(-1)!),
        build: (graph, t) => ({ y: norm(graph, t, { training: mode, relu }) }),
      })
    })

test('batch norm: a ReLU keeps NaN, and a gradient stops at its zeros', async (t) => {
  const x = { shape: [1, 2, 2, 2], values: Float32Array.of(-1, Number.NaN, 2, 0, 3, 1, 0.5, -2) }
  const ones = { shape: [2], values: Float32Array.of(1, 1), parameter: true }
  const zeros = { shape: [2], values: Float32Array.of(0, 0), parameter: true }
  const { outputs, gradients } = await runCase(
    t,
    device,
    {
      name: 'batchNormInference',
      inputs: { x, weight: ones, bias: zeros },
      constants: { runningMean: zeros, runningVariance: ones },
      build: (graph, t) => ({ y: norm(graph, t, { training: false, relu: true, epsilon: 0 }) }),
    },
    { y: new Float32Array(8).fill(1) },
  )
  t.deepEqual([...outputs.y!], [0, Number.NaN, 2, 0, 3, 1, 0.5, 0])
  t.deepEqual([...gradients.bias!], [3, 2])
  t.deepEqual([...gradients.x!.filter((_, index) => index !== 1)], [0, 1, 0, 1, 1, 1, 0])
})

test('batch norm: statistics of large inputs with a mean far from zero', async (t) => {
  const shape = [4, 60, 50, 8]
  const values = randomValues(shape, 31, Math.sqrt(3)).map((value, index) => value + [1000, -1000, 0, 30][index % 4]!)
  const { mean, variance } = statisticsOf(values, 8)
  const ones = { shape: [8], values: new Float32Array(8).fill(1), parameter: true }
  const zeros = { shape: [8], values: new Float32Array(8), parameter: true }
  const { outputs, parameters } = await runCase(t, device, {
    name: 'batchNorm',
    inputs: { x: { shape, values }, weight: ones, bias: zeros },
    constants: { runningMean: zeros, runningVariance: ones },
    build: (graph, t) => ({ y: norm(graph, t, { momentum: 1 }) }),
  })
  const rows = values.length / 8
  assertClose(t, parameters.runningMean!, mean, 1e-7, 'mean')
  for (const [c, value] of variance.entries()) {
    const unbiased = (value * rows) / (rows - 1)
    t.true(Math.abs(parameters.runningVariance![c]! - unbiased) <= 2e-6 * unbiased, `variance of channel ${c}`)
  }
  // The mean is held in f32: near 1000 that is half of 2^-14 away from the true one at most, and so is y, beyond the
  // roundings of values up to 2.
  for (const [index, y] of outputs.y!.entries()) {
    const c = index % 8
    const wanted = (values[index]! - mean[c]!) / Math.sqrt(variance[c]! + 1e-5)
    t.true(Math.abs(y - wanted) <= 2 ** -15 + 1e-6, `y ${index} is ${y} instead of ${wanted}`)
  }
})

test('batch norm: one row has the bias as its norm, and finite statistics', async (t) => {
  const { outputs, gradients, parameters } = await runCase(
    t,
    device,
    {
      name: 'batchNorm',
      inputs: { x: { shape: [1, 1, 1, 5], values: randomValues([5], 41) }, ...parametersOf(5) },
      constants: runningOf(5),
      build: (graph, t) => ({ y: norm(graph, t) }),
    },
    { y: randomValues([5], 42) },
  )
  same(t, outputs.y, parametersOf(5).bias!.values)
  t.deepEqual([...gradients.x!].map(Math.abs), [0, 0, 0, 0, 0])
  const old = runningOf(5).runningVariance!.values
  assertClose(
    t,
    parameters.runningVariance!,
    Array.from(old, (value) => 0.9 * value),
    1e-6,
    'running variance',
  )
})

test('batch norm: momentum 0 leaves the running statistics alone', async (t) => {
  const { parameters } = await runCase(t, device, {
    name: 'batchNorm',
    inputs: { x: { shape: [3, 2, 2, 5], values: randomValues([60], 51) }, ...parametersOf(5) },
    constants: runningOf(5),
    build: (graph, t) => ({ y: norm(graph, t, { momentum: 0 }) }),
  })
  for (const [key, { values }] of Object.entries(runningOf(5))) same(t, parameters[key], values)
})

test('batch norm: running statistics follow each micro-batch in turn', async (t) => {
  const [batch, channels] = [4, 3]
  const image = [2, 3, channels]
  const values = randomValues([batch, ...image], 61, 2)
  const graph = createGraph()
  const place = (name: string, offset: number) => addTensor(graph, name, [channels], { arena: 'weights', offset })
  const tensors = {
    x: addInput(graph, 'x', [2, ...image], 'f32', true),
    ...{ weight: place('weight', 0), bias: place('bias', 16) },
    ...{ runningMean: place('mean', 32), runningVariance: place('variance', 48) },
  }
  addOutput(graph, 'y', norm(graph, tensors), true)
  const session = await addon().createSession(device.handle, [0, 256])
  await addon().writeArena(session, 1, 0, new Float32Array(64).fill(1))
  const program = await addon().createProgram(session, compile(graph, batch, 2))
  await addon().runProgram(program, { x: values })
  const weights = (await addon().readArena(session, 1, 0, 'f32', 64)) as Float32Array
  addon().closeProgram(program)
  addon().closeSession(session)
  const mean = new Array<number>(channels).fill(1)
  const variance = new Array<number>(channels).fill(1)
  const one = sizeOf(image)
  for (const images of [
    [0, 3],
    [1, 2],
  ]) {
    const part = images.flatMap((i) => [...values.subarray(i * one, (i + 1) * one)])
    const rows = part.length / channels
    const statistics = statisticsOf(part, channels)
    for (let c = 0; c < channels; c++) {
      mean[c] = 0.9 * mean[c]! + 0.1 * statistics.mean[c]!
      variance[c] = 0.9 * variance[c]! + (0.1 * statistics.variance[c]! * rows) / (rows - 1)
    }
  }
  assertClose(t, weights.slice(32, 32 + channels), mean, 1e-6, 'running mean')
  assertClose(t, weights.slice(48, 48 + channels), variance, 1e-6, 'running variance')
})

for (const [shape, added] of [
  [[2, 40, 41, 24], true],
  [[3, 4, 5, 2100], false], // two blocks side by side
] as const)
  test(`batch norm: threads do not change a bit, ${shape}`, async (t) => {
    const results = []
    for (const threads of [1, 2]) {
      const own = await openTestDevice({ threads })
      const opCase = {
        name: 'batchNorm',
        inputs: {
          x: { shape, values: randomValues(shape, 71) },
          ...parametersOf(shape.at(-1)!),
          ...(added && { residual: { shape, values: randomValues(shape, 72) } }),
        },
        constants: runningOf(shape.at(-1)!),
        build: (graph: Graph, t: Readonly<Record<string, Tensor>>) => ({ y: norm(graph, t, { relu: true }) }),
      }
      results.push(await runCase(t, own, opCase, { y: randomValues(shape, 73) }))
      await own.close()
    }
    t.deepEqual(results[0], results[1])
  })

// Per channel, all values pass the ReLU or none does: rounding must not decide it.
const biases = Float32Array.from({ length: 12 }, (_, index) => (index % 3 === 0 ? -4 : 4))
const parameter = (seed: number, ...shape: number[]): OpInput => ({
  shape,
  values: randomValues(shape, seed, 0.5),
  parameter: true,
})
const reducedCase = (name: string, width: number, mode: boolean, build: OpCase['build']): OpCase => ({
  name: `${name}, ${mode ? 'training' : 'inference'}`,
  inputs: {
    images: { shape: [2, 3, 5, 8], values: randomValues([240], 81) },
    ...{ first: parameter(82, width, 8), second: parameter(83, width, 8), last: parameter(84, 6, width) },
    weight: { shape: [width], values: positive(randomValues([width], 85)), parameter: true },
    bias: { shape: [width], values: biases.slice(0, width), parameter: true },
  },
  constants: runningOf(width),
  build,
})

const options = (mode: boolean) => ({ training: mode, relu: true })
const cases = [true, false].flatMap((mode) => [
  // Twelve channels move four at a time, nine one by one; images that are the program's own are f32.
  ...[12, 9].map((width) =>
    reducedCase(`between products, ${width} channels`, width, mode, (graph, t) => {
      const x = linear(graph, t.images!, t.first!)
      const residual = linear(graph, t.images!, t.second!)
      return { y: linear(graph, norm(graph, { ...t, x, residual }, options(mode)), t.last!) }
    }),
  ),
  reducedCase('of f32', 8, mode, (graph, t) => ({
    y: linear(graph, norm(graph, { ...t, x: t.images! }, options(mode)), t.last!),
  })),
])
for (const opCase of cases) testReduced(`batch norm in reduced precision: ${opCase.name}`, device, opCase)
