import type { Graph } from '../../lib/graph/graph.js'
import type { Tensor } from '../../lib/graph/tensor.js'
import { averagePool, globalAveragePool, linear, maxPool } from '../../lib/ops/index.js'
import { openTestDevice } from '../device.js'
import { same } from '../same.js'
import { test } from '../serial.js'
import { caseOf, goldenCases } from './golden-cases.js'
import type { OpCase } from './harness.js'
import { checkGolden, checkGradients, randomValues, runCase } from './harness.js'
import { testReduced } from './reduced.js'

const device = await openTestDevice()
const maxPoolCases = await goldenCases('max_pool', [])
const averagePoolCases = await goldenCases('average_pool', [])
const globalAveragePoolCases = await goldenCases('global_average_pool', [])
test.after.always(() => device.close())

type Windows = Parameters<typeof maxPool>[2]
type Shape4 = readonly [number, number, number, number]

/** Max pooling and its gradient by the definition. */
function referenceMaxPool(
  x: Float32Array,
  [batch, height, width, channels]: Shape4,
  windows: Windows,
  dy?: Float32Array,
) {
  const { kernel, stride, padding } = windows
  const count = (extent: number) => Math.floor((extent + 2 * padding - kernel) / stride) + 1
  const y: number[] = []
  const dx = new Float32Array(x.length)
  for (let b = 0; b < batch; b++)
    for (let oy = 0; oy < count(height); oy++)
      for (let ox = 0; ox < count(width); ox++)
        for (let c = 0; c < channels; c++) {
          let best = -1
          for (let iy = oy * stride - padding; iy < oy * stride - padding + kernel; iy++)
            for (let ix = ox * stride - padding; ix < ox * stride - padding + kernel; ix++) {
              if (iy < 0 || iy >= height || ix < 0 || ix >= width) continue
              const at = ((b * height + iy) * width + ix) * channels + c
              if (best < 0 || x[at]! > x[best]! || Number.isNaN(x[at]!)) best = at
            }
          if (dy) dx[best] = dx[best]! + dy[y.length]!
          y.push(x[best]!)
        }
  return { y: Float32Array.from(y), dx }
}

const maxPoolCase = (shape: Shape4, windows: Windows, values: Float32Array): OpCase => ({
  name: 'maxPool',
  inputs: { x: { shape, values } },
  build: (graph, { x }) => ({ y: maxPool(graph, x!, windows) }),
})

/** Values 0.05 apart in a mixed order. */
function distinct(shape: readonly number[]): Float32Array {
  const count = shape.reduce((product, extent) => product * extent, 1)
  const order = randomValues([count], 5)
  const ranks = Array.from(order.keys()).sort((a, b) => order[a]! - order[b]!)
  const values = new Float32Array(count)
  for (const [rank, index] of ranks.entries()) values[index] = 0.05 * (rank - count / 2)
  return values
}

for (const golden of maxPoolCases)
  test(`max pooling: ${golden.facts.name}`, (t) => {
    const { kernel, stride, padding } = golden.facts.attributes as Windows
    const build: OpCase['build'] = (graph, { x }) => ({ y: maxPool(graph, x!, { kernel, stride, padding }) })
    return checkGolden(t, device, caseOf(golden, build), golden.wanted)
  })

for (const [shape, windows] of [
  [[2, 7, 6, 5], { kernel: 3, stride: 2, padding: 1 }],
  [[1, 8, 5, 16], { kernel: 3, stride: 2, padding: 1 }],
  [[1, 1, 1, 3], { kernel: 3, stride: 2, padding: 1 }],
  [[2, 5, 9, 20], { kernel: 2, stride: 2, padding: 0 }],
  [[1, 9, 11, 35], { kernel: 2, stride: 3, padding: 1 }], // values in no window
  [[1, 6, 5, 7], { kernel: 5, stride: 1, padding: 2 }],
  [[1, 20, 17, 2], { kernel: 16, stride: 3, padding: 8 }], // numbers up to 255
  [[2, 4, 3, 5], { kernel: 1, stride: 1, padding: 0 }],
] as const)
  for (const [kind, valuesOf] of [
    ['distinct', (n: number) => distinct([n])],
    ['equal', (n: number) => randomValues([n], 6, 1.4).map(Math.round)],
    ['below zero', (n: number) => randomValues([n], 7).map((value) => value - 2)],
    ['NaN', (n: number) => randomValues([n], 8).map((value) => (value > 0.8 ? Number.NaN : value))],
    ['infinite', (n: number) => randomValues([n], 9).map((value) => (value > 0.9 ? 1 : -Infinity))],
  ] as const)
    test(`max pooling: ${kind} values, ${shape}, ${Object.values(windows)}`, async (t) => {
      const values = valuesOf(shape.reduce<number>((product, extent) => product * extent, 1))
      const dy = randomValues([referenceMaxPool(values, shape, windows).y.length], 10)
      const wanted = referenceMaxPool(values, shape, windows, dy)
      const { outputs, gradients } = await runCase(t, device, maxPoolCase(shape, windows, values), { y: dy })
      same(t, outputs.y, wanted.y)
      t.is(gradients.x!.length, wanted.dx.length)
      for (const [index, value] of wanted.dx.entries())
        t.true(
          Math.abs(gradients.x![index]! - value) <= 1e-6,
          `dx ${index} is ${gradients.x![index]} instead of ${value}`,
        )
    })

test('max pooling: finite differences', (t) =>
  checkGradients(t, device, maxPoolCase([2, 7, 5, 5], { kernel: 3, stride: 2, padding: 1 }, distinct([2, 7, 5, 5]))))

test('max pooling: refuses windows that it cannot number or that hold padding alone', async (t) => {
  for (const windows of [
    { kernel: 17, stride: 1, padding: 0 },
    { kernel: 2, stride: 1, padding: 2 },
    { kernel: 2, stride: 0, padding: 0 },
    { kernel: 9, stride: 1, padding: 1 },
  ])
    await t.throwsAsync(runCase(t, device, maxPoolCase([1, 6, 6, 2], windows, new Float32Array(72))))
})

for (const golden of averagePoolCases)
  test(`average pooling: ${golden.facts.name}`, (t) =>
    checkGolden(
      t,
      device,
      caseOf(golden, (graph, { x }) => ({ y: averagePool(graph, x!, Number(golden.facts.attributes.kernel)) })),
      golden.wanted,
    ))
for (const golden of globalAveragePoolCases)
  test(`average pooling: ${golden.facts.name}`, (t) =>
    checkGolden(
      t,
      device,
      caseOf(golden, (graph, { x }) => ({ y: globalAveragePool(graph, x!) })),
      golden.wanted,
    ))

for (const [shape, size] of [
  [[2, 7, 5, 5], 2],
  [[1, 4, 6, 16], 2],
  [[3, 5, 8, 19], 3],
  [[1, 1, 1, 3], 2],
  [[2, 2, 3, 4], 1],
  [[1, 3, 2, 6], 9],
] as const)
  test(`average pooling: finite differences, ${shape}, ${size} x ${size} and global`, (t) =>
    checkGradients(t, device, {
      name: 'averagePool',
      inputs: { x: { shape, values: randomValues(shape, 11) } },
      build: (graph, { x }) => ({ y: averagePool(graph, x!, size), all: globalAveragePool(graph, x!) }),
    }))

test('average pooling: the average of a constant is the constant, cut windows included', async (t) => {
  const { outputs } = await runCase(t, device, {
    name: 'averagePool',
    inputs: { x: { shape: [1, 7, 9, 3], values: new Float32Array(189).fill(3) } },
    build: (graph, { x }) => ({ y: averagePool(graph, x!, 4), all: globalAveragePool(graph, x!) }),
  })
  for (const values of [outputs.y!, outputs.all!]) for (const value of values) t.true(Math.abs(value - 3) < 1e-6)
})

const shape = [2, 23, 29, 20] as const
const build = (graph: Graph, { x }: Readonly<Record<string, Tensor>>) => ({
  largest: maxPool(graph, x!, { kernel: 3, stride: 2, padding: 1 }),
  average: averagePool(graph, x!, 2),
  all: globalAveragePool(graph, x!),
})
test('pooling: threads do not change a bit', async (t) => {
  const opCase = { name: 'pooling', inputs: { x: { shape, values: randomValues(shape, 12) } }, build }
  const results = []
  for (const threads of [1, 2]) {
    const own = await openTestDevice({ threads })
    const { outputs } = await runCase(t, own, opCase)
    const seeds = Object.fromEntries(
      Object.entries(outputs).map(([key, y], index) => [key, randomValues([y.length], 13 + index)]),
    )
    results.push(await runCase(t, own, opCase, seeds))
    await own.close()
  }
  t.deepEqual(results[0], results[1])
})

// Eighths of whole numbers below 256 have all their bits in 16-bit types, so that rounding leaves maxima in place.
for (const channels of [20, 9]) {
  const images = [2, 13, 11, channels]
  const values = Float32Array.from({ length: 2 * 13 * 11 * channels }, (_, index) => ((index * 37) % 251) / 8 - 16)
  const opCase: OpCase = {
    name: 'pooling',
    inputs: {
      x: { shape: images, values },
      weight: { shape: [6, channels], values: randomValues([6, channels], 14), parameter: true },
    },
    build: (graph, { x, weight }) => {
      const once = maxPool(graph, x!, { kernel: 3, stride: 2, padding: 1 })
      const twice = maxPool(graph, once, { kernel: 2, stride: 1, padding: 1 })
      const mean = globalAveragePool(graph, averagePool(graph, averagePool(graph, x!, 2), 2))
      return { y: linear(graph, twice, weight!), mean: linear(graph, mean, weight!) }
    },
  }
  testReduced(`pooling: in reduced precision, ${channels} channels`, device, opCase)
}
