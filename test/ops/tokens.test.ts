import { addTensor, createGraph } from '../../lib/graph/graph.js'
import {
  addTokenMax,
  dropToken,
  linear,
  patches,
  prependToken,
  resizePosition,
  selectToken,
  tokens,
} from '../../lib/ops/index.js'
import { openTestDevice } from '../device.js'
import { assertClose } from '../golden.js'
import { test } from '../serial.js'
import { caseOf, goldenCases } from './golden-cases.js'
import type { OpCase } from './harness.js'
import { checkGolden, checkGradients, randomValues, runCase } from './harness.js'

const device = await openTestDevice()
const tokenMaxCases = await goldenCases('token_max', [])
test.after.always(() => device.close())

test('tokens: the first token and the rest are all of them', async (t) => {
  const x = { shape: [3, 4, 7], values: randomValues([3, 4, 7], 4) }
  const { outputs } = await runCase(t, device, {
    name: 'dropToken',
    inputs: { x },
    build: (graph, inputs) => ({ first: selectToken(graph, inputs.x!), rest: dropToken(graph, inputs.x!) }),
  })
  for (const image of [0, 1, 2])
    t.deepEqual(
      [...outputs.first!.subarray(7 * image, 7 * image + 7), ...outputs.rest!.subarray(21 * image, 21 * image + 21)],
      [...x.values.subarray(28 * image, 28 * image + 28)],
    )
})
test('tokens: patch embedding against a convolution of kernel 8, stride 8', async (t) => {
  const golden = (await goldenCases('convolution', ['weight', 'bias'])).find(
    ({ facts }) => facts.attributes.kernel === 8,
  )!
  await checkGolden(
    t,
    device,
    caseOf(golden, (graph, { x, weight, bias }) => ({ y: linear(graph, patches(graph, x!, 8), weight!, bias!) })),
    golden.wanted,
  )
})
test('tokens: finite differences of class token, position and patches', (t) =>
  checkGradients(t, device, {
    name: 'tokens',
    inputs: {
      patches: { shape: [3, 4, 7], values: randomValues([3, 4, 7], 1) },
      classToken: { shape: [1, 1, 7], values: randomValues([7], 2), parameter: true },
      position: { shape: [1, 10, 7], values: randomValues([1, 10, 7], 3), parameter: true },
    },
    build: (graph, inputs) => {
      const y = tokens(graph, inputs.patches!, inputs.classToken!, resizePosition(graph, inputs.position!, 3, 2, 1))
      return { y, first: selectToken(graph, y), rest: dropToken(graph, y) }
    },
  }))
test('tokens: finite differences of a position that is a parameter itself', (t) =>
  checkGradients(t, device, {
    name: 'tokens',
    inputs: {
      patches: { shape: [2, 4, 5], values: randomValues([2, 4, 5], 1) },
      classToken: { shape: [1, 1, 5], values: randomValues([5], 2), parameter: true },
      position: { shape: [5, 5], values: randomValues([5, 5], 3), parameter: true },
    },
    build: (graph, inputs) => ({ y: tokens(graph, inputs.patches!, inputs.classToken!, inputs.position!) }),
  }))

for (const [batch, count, width] of [
  [3, 4, 7],
  [1, 5, 3],
  [2, 1, 1],
] as const) {
  const x = { shape: [batch, count, width], values: randomValues([batch, count, width], 1) }
  for (const shared of [true, false])
    test(`prependToken: ${x.shape}, ${shared ? 'one token for all' : 'a token an image'}`, async (t) => {
      const shape = [shared ? 1 : batch, 1, width]
      const token = { shape, values: randomValues(shape, 2), parameter: shared }
      const opCase: OpCase = {
        name: 'prependToken',
        inputs: { x, token },
        build: (graph, inputs) => ({ y: prependToken(graph, inputs.x!, inputs.token!) }),
      }
      const dy = randomValues([batch, count + 1, width], 3)
      const { outputs, gradients } = await runCase(t, device, opCase, { y: dy })
      const image = count * width
      const wanted = Array.from({ length: batch }, (_, i) => [
        ...(shared ? token.values : token.values.slice(i * width, (i + 1) * width)),
        ...x.values.slice(i * image, (i + 1) * image),
      ]).flat()
      t.deepEqual([...outputs.y!], wanted)
      const parts = Array.from({ length: batch }, (_, i) => [
        ...dy.slice(i * (image + width), (i + 1) * (image + width)),
      ])
      t.deepEqual(
        [...gradients.x!],
        parts.flatMap((part) => part.slice(width)),
      )
      const firsts = parts.map((part) => part.slice(0, width))
      if (!shared) t.deepEqual([...gradients.token!], firsts.flat())
      else
        assertClose(
          t,
          gradients.token!,
          firsts.reduce((sum, part) => sum.map((value, i) => value + part[i]!)),
          1e-6,
          'gradient of the token',
        )
    })
}
test('prependToken: a token of its own that comes from another op, used twice', (t) =>
  checkGradients(t, device, {
    name: 'prependToken',
    inputs: {
      x: { shape: [3, 5, 4], values: randomValues([3, 5, 4], 4) },
      weight: { shape: [4, 4], values: randomValues([4, 4], 5), parameter: true },
    },
    build: (graph, { x, weight }) => {
      const token = linear(graph, selectToken(graph, x!), weight!)
      return { y: prependToken(graph, prependToken(graph, x!, token), token) }
    },
  }))
test('prependToken: shapes that do not fit are named', (t) => {
  const graph = createGraph()
  const x = addTensor(graph, 'x', [3, 5, 4])
  t.throws(() => prependToken(graph, x, addTensor(graph, 'token', [2, 1, 4])), {
    message: /prependToken: Expected shape \[3, 1, 4\] for the token but received \[2, 1, 4\]/,
  })
  t.throws(() => prependToken(graph, addTensor(graph, 'y', [5, 4]), x), {
    message: /\[batch, tokens, width\] for the tokens/,
  })
})

for (const golden of tokenMaxCases)
  test(`addTokenMax: ${golden.facts.name}`, (t) => {
    const shape = [golden.facts.inputs.x![0]!, golden.facts.inputs.x![2]!]
    return checkGolden(
      t,
      device,
      {
        ...caseOf(golden, (graph, { x, zeros }) => ({ y: addTokenMax(graph, zeros!, x!, 1) })),
        constants: { zeros: { shape, values: new Float32Array(shape[0]! * shape[1]!) } },
      },
      golden.wanted,
    )
  })
// Steps of 0.05 between the values: differences along a direction never change which is the largest.
for (const [batch, count, classes] of [
  [3, 5, 7],
  [1, 1, 3],
  [2, 17, 10],
] as const)
  test(`addTokenMax: finite differences, ${batch} x ${count} x ${classes}`, (t) =>
    checkGradients(t, device, {
      name: 'addTokenMax',
      inputs: {
        y: { shape: [batch, classes], values: randomValues([batch, classes], 6) },
        x: {
          shape: [batch, count, classes],
          values: Float32Array.from({ length: batch * count * classes }, (_, i) => ((i * 149) % 349) / 20 - 8),
        },
      },
      build: (graph, { x, y }) => ({ y: addTokenMax(graph, y!, x!, 0.5) }),
    }))
test('addTokenMax: of equal values the first token has the gradient; what is not a number is the largest', async (t) => {
  const opCase: OpCase = {
    name: 'addTokenMax',
    inputs: {
      y: { shape: [1, 3], values: Float32Array.of(10, 20, 30) },
      x: { shape: [1, 3, 3], values: Float32Array.of(1, 5, 2, /**/ 4, 5, Number.NaN, /**/ 4, 5, 9) },
    },
    build: (graph, { x, y }) => ({ y: addTokenMax(graph, y!, x!, 2) }),
  }
  const { outputs, gradients } = await runCase(t, device, opCase, { y: Float32Array.of(1, 2, 3) })
  t.deepEqual([...outputs.y!], [18, 30, Number.NaN])
  t.deepEqual([...gradients.y!], [1, 2, 3])
  t.deepEqual([...gradients.x!], [0, 4, 0, /**/ 2, 0, 6, /**/ 0, 0, 0])
})
