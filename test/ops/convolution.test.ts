import { differentiate } from '../../lib/graph/autodiff.js'
import { addInput, addTensor, createGraph } from '../../lib/graph/graph.js'
import { add, convolution } from '../../lib/ops/index.js'
import { openTestDevice } from '../device.js'
import { assertClose, relativeError } from '../golden.js'
import { test } from '../serial.js'
import { unless } from '../unless.js'
import { caseOf, goldenCases } from './golden-cases.js'
import type { OpCase } from './harness.js'
import { checkGolden, checkGradients, randomValues, runCase } from './harness.js'

const device = await openTestDevice()
const convolutionCases = await goldenCases('convolution', ['weight', 'bias'])
test.after.always(() => device.close())

/** Batch, height, width, channels; channels out, side of the kernel, stride, padding. */
type Sizes = readonly [number, number, number, number, number, number, number, number]

const sizes: readonly Sizes[] = [
  [3, 8, 6, 5, 7, 3, 2, 1], // even sides
  [2, 9, 7, 4, 6, 3, 2, 1], // odd ones
  [1, 5, 4, 1, 1, 3, 1, 1], // one image of one channel
  [1, 4, 4, 3, 2, 4, 4, 0], // as small as the kernel
  [2, 1, 2, 3, 5, 3, 1, 1], // smaller than the kernel but for its padding
  [2, 5, 7, 8, 3, 2, 2, 0], // a row and a column that no output sees
  [2, 7, 8, 2, 3, 2, 3, 0], // pixels between the outputs
  [3, 6, 5, 12, 9, 1, 1, 0], // a product
  [2, 5, 6, 8, 4, 1, 2, 0],
  [1, 3, 4, 3, 4, 1, 1, 1], // outputs that see padding alone
  [1, 11, 10, 3, 8, 7, 2, 3],
  [4, 6, 6, 16, 128, 3, 1, 1], // several slices of channels
]

const caseFor = ([batch, height, width, channels, out, kernel, stride, padding]: Sizes, biased: boolean): OpCase => ({
  name: `${[batch, height, width, channels]} by ${kernel} x ${kernel} to ${out}, stride ${stride}, padding ${padding}`,
  inputs: {
    x: { shape: [batch, height, width, channels], values: randomValues([batch, height, width, channels], 1) },
    weight: {
      shape: [out, channels, kernel, kernel],
      values: randomValues([out, channels, kernel, kernel], 2),
      parameter: true,
    },
    ...(biased && { bias: { shape: [out], values: randomValues([out], 3), parameter: true } }),
  },
  build: (graph, { x, weight, bias }) => ({ y: convolution(graph, x!, weight!, { stride, padding }, bias) }),
})

/** The definition, in double precision. */
function reference([batch, height, width, channels, out, kernel, stride, padding]: Sizes, inputs: OpCase['inputs']) {
  const x = inputs.x!.values
  const weight = inputs.weight!.values
  const along = (extent: number) => Math.floor((extent + 2 * padding - kernel) / stride) + 1
  const [rows, columns] = [along(height), along(width)]
  return Float32Array.from({ length: batch * rows * columns * out }, (_, index) => {
    const [image, row] = [Math.floor(index / (rows * columns * out)), Math.floor(index / (columns * out)) % rows]
    const [column, o] = [Math.floor(index / out) % columns, index % out]
    let sum = inputs.bias?.values[o] ?? 0
    for (let ky = 0; ky < kernel; ky++)
      for (let kx = 0; kx < kernel; kx++) {
        const [i, j] = [row * stride - padding + ky, column * stride - padding + kx]
        if (i < 0 || i >= height || j < 0 || j >= width) continue
        for (let c = 0; c < channels; c++)
          sum +=
            x[((image * height + i) * width + j) * channels + c]! *
            weight[((o * channels + c) * kernel + ky) * kernel + kx]!
      }
    return sum
  })
}

for (const golden of convolutionCases) {
  const { stride, padding } = golden.facts.attributes as { stride: number; padding: number }
  const opCase = caseOf(golden, (graph, { x, weight, bias }) => ({
    y: convolution(graph, x!, weight!, { stride, padding }, bias),
  }))
  test(`convolution: ${golden.facts.name}`, (t) => checkGolden(t, device, opCase, golden.wanted))
}

for (const [index, shape] of sizes.entries()) {
  const opCase = caseFor(shape, index % 2 === 0)
  test(`convolution: the definition, ${opCase.name}`, async (t) => {
    const { outputs } = await runCase(t, device, opCase)
    assertClose(t, outputs.y!, reference(shape, opCase.inputs), 1e-5, opCase.name)
  })
  test(`convolution: finite differences, ${opCase.name}`, (t) => checkGradients(t, device, opCase))
}

test('convolution: gradients of parameters are added to what is there', async (t) => {
  // The same weight twice: both convolutions accumulate in one place.
  const shape = [2, 6, 5, 4, 4, 3, 1, 1] as const
  const once = caseFor(shape, true)
  await checkGradients(t, device, {
    ...once,
    build: (graph, { x, weight, bias }) => {
      const y = convolution(graph, x!, weight!, { stride: 1, padding: 1 }, bias)
      return { y: convolution(graph, y, weight!, { stride: 2, padding: 1 }, bias) }
    },
  })
})

unless(device.kind !== 'cpu')(
  'convolution: any number of threads gives the same up to the order of sums',
  async (t) => {
    const single = await openTestDevice({ threads: 1 })
    for (const shape of sizes) {
      const opCase = caseFor(shape, true)
      const dy = randomValues([reference(shape, opCase.inputs).length], 9)
      const [one, two] = await Promise.all([single, device].map((each) => runCase(t, each, opCase, { y: dy })))
      assertClose(t, two!.outputs.y!, one!.outputs.y!, 1e-6, opCase.name)
      for (const [key, gradient] of Object.entries(one!.gradients))
        t.true(relativeError(two!.gradients[key]!, gradient) < 1e-6, `${opCase.name}, ${key}`)
      const again = await runCase(t, device, opCase, { y: dy })
      t.deepEqual(again, two)
    }
    await single.close()
  },
)

test('convolution: images get no gradient that nobody asks for', (t) => {
  const graph = createGraph()
  const x = addInput(graph, 'images', [1, 4, 4, 3], 'f32')
  const weight = addTensor(graph, 'weight', [2, 3, 3, 3], { arena: 'weights', offset: 0 })
  const y = convolution(graph, x, weight, { stride: 1, padding: 1 })
  differentiate(graph, [{ tensor: y, gradient: addInput(graph, 'dy', y.shape, 'f32') }], add)
  t.deepEqual(
    graph.nodes.map((node) => node.op.name),
    ['convolution', 'convolutionGradientWeight'],
  )
  t.is(graph.nodes[0]!.op.cost(graph.nodes[0]!.inputs, [y], graph.nodes[0]!.attributes), 16 * 2 * 27)
})

test('convolution: shapes that contradict each other are refused', (t) => {
  const refused = (x: number[], weight: number[], padding: number, message: RegExp, bias?: number[]) => {
    const graph = createGraph()
    const tensors = [x, weight, ...(bias ? [bias] : [])].map((shape) => addTensor(graph, 't', shape))
    t.throws(() => convolution(graph, tensors[0]!, tensors[1]!, { stride: 1, padding }, tensors[2]), {
      code: 'SHAPE',
      message,
    })
  }
  refused([2, 8, 8], [4, 3, 3, 3], 1, /for x but received \[2, 8, 8\]/)
  refused([2, 8, 8, 5], [4, 3, 3, 3], 1, /\[4, 5, 3, 3\] for weight but received \[4, 3, 3, 3\]/)
  refused([2, 8, 8, 3], [4, 3, 3, 2], 1, /\[4, 3, 3, 3\] for weight but received \[4, 3, 3, 2\]/)
  refused([2, 8, 8, 3], [4, 27], 1, /for weight but received \[4, 27\]/)
  refused([2, 4, 8, 3], [4, 3, 7, 7], 1, /\[batch, 5 or more, 5 or more, 3\] for x but received \[2, 4, 8, 3\]/)
  refused([2, 8, 8, 3], [4, 3, 3, 3], 1, /\[4\] for bias but received \[5\]/, [5])
})
