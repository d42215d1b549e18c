import { addTensor, createGraph } from '../../lib/graph/graph.js'
import { addPosition, layerNorm, resizePosition } from '../../lib/ops/index.js'
import { openTestDevice } from '../device.js'
import { assertClose } from '../golden.js'
import { same } from '../same.js'
import { test } from '../serial.js'
import { goldenCases } from './golden-cases.js'
import { checkGradients, randomValues, runCase } from './harness.js'

const device = await openTestDevice()
const resizeBicubicCases = await goldenCases('resize_bicubic', [])
test.after.always(() => device.close())

for (const golden of resizeBicubicCases) {
  const [, from, , width] = golden.facts.inputs.x as [number, number, number, number]
  const to = Number(golden.facts.attributes.to)
  // A class token's row before the grid must pass unchanged.
  const before = randomValues([width], 9)
  for (const prefix of [1, 0] as const) {
    const withRows = (values: ArrayLike<number>) =>
      Float32Array.from([...(prefix ? before : []), ...Array.from(values)])
    test(`resizePosition: ${golden.facts.name}${prefix ? ' after a row that stays' : ''}`, async (t) => {
      const position = {
        shape: prefix ? [1, 1 + from ** 2, width] : [1, from, from, width],
        values: withRows(golden.inputs.x!.values),
        parameter: true,
      }
      const { outputs, gradients } = await runCase(
        t,
        device,
        {
          name: 'resizePosition',
          inputs: { position },
          build: (graph, inputs) => ({ y: resizePosition(graph, inputs.position!, from, to, prefix) }),
        },
        { y: withRows(golden.wanted.dy) },
      )
      assertClose(t, outputs.y!, withRows(golden.wanted.y), 1e-5, 'y')
      assertClose(t, gradients.position!, withRows(golden.wanted.gradients.get('x')!), 1e-5, 'gradient')
      if (from === to) same(t, outputs.y, position.values)
    })
  }
}

for (const [batch, height, width, channels] of [
  [3, 2, 5, 7],
  [1, 3, 1, 4],
  [5, 1, 1, 1],
] as const) {
  const shape = [batch, height, width, channels]
  const x = { shape, values: randomValues(shape, 1) }
  const position = {
    shape: [1, height, width, channels],
    values: randomValues(shape.slice(1), 2),
    parameter: true,
  }
  const image = height * width * channels
  test(`addPosition: of ${shape}, its gradient summed over the images`, async (t) => {
    const dy = randomValues(shape, 3)
    const { outputs, gradients } = await runCase(
      t,
      device,
      {
        name: 'addPosition',
        inputs: { x, position },
        build: (graph, inputs) => ({ y: addPosition(graph, inputs.x!, inputs.position!) }),
      },
      { y: dy },
    )
    same(
      t,
      outputs.y,
      x.values.map((value, i) => value + position.values[i % image]!),
    )
    same(t, gradients.x, dy)
    const sums = new Float64Array(image)
    for (const [i, value] of dy.entries()) sums[i % image]! += value
    assertClose(t, gradients.position!, sums, 1e-6, 'gradient of the position')
  })
  test(`addPosition: finite differences of a position used twice, ${shape}`, (t) =>
    checkGradients(t, device, {
      name: 'addPosition',
      inputs: { x, position },
      build: (graph, inputs) => {
        const once = addPosition(graph, inputs.x!, inputs.position!)
        return { once, twice: addPosition(graph, once, inputs.position!) }
      },
    }))
}
test('addPosition: finite differences of a resized position', (t) => {
  const shape = [2, 4, 4, 5]
  return checkGradients(t, device, {
    name: 'addPosition',
    inputs: {
      x: { shape, values: randomValues(shape, 5) },
      position: { shape: [1, 3, 3, 5], values: randomValues([45], 6), parameter: true },
      gamma: { shape: [5], values: randomValues([5], 7), parameter: true },
      beta: { shape: [5], values: randomValues([5], 8), parameter: true },
    },
    build: (graph, { x, position, gamma, beta }) => {
      const sum = addPosition(graph, x!, resizePosition(graph, position!, 3, 4, 0))
      return { y: layerNorm(graph, sum, gamma!, beta!, 1e-5) }
    },
  })
})

test('shapes that do not fit are named', (t) => {
  const graph = createGraph()
  const x = addTensor(graph, 'x', [2, 3, 3, 4])
  const position = (...shape: number[]) => addTensor(graph, 'position', shape)
  t.throws(() => addPosition(graph, x, position(1, 2, 3, 4)), {
    message: /addPosition: Expected shape \[9, 4\] for the position but received \[1, 2, 3, 4\]/,
  })
  t.throws(() => addPosition(graph, x, position(4, 9)), { message: /addPosition/ })
  t.throws(() => resizePosition(graph, position(1, 9, 4), 3, 2, 1), {
    message: /resizePosition: Expected shape \[1, 10, width\] for the position but received \[1, 9, 4\]/,
  })
})
