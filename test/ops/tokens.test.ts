import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { linear, patches, resizePosition, selectToken, tokens } from '../../lib/ops/index.js'
import { openTestDevice } from '../device.js'
import { assertClose } from '../golden.js'
import { caseOf, goldenCases } from './golden-cases.js'
import { checkGolden, checkGradients, randomValues, runCase } from './harness.js'

const device = await openTestDevice()
after(() => device.close())

describe('tokens', async () => {
  for (const golden of await goldenCases('resize_bicubic', [])) {
    const [, from, , width] = golden.facts.inputs.x as [number, number, number, number]
    const to = Number(golden.facts.attributes.to)
    // The grid's rows follow a class token's row, which must pass unchanged.
    const before = randomValues([width], 9)
    const withRow = (values: ArrayLike<number>, row: ArrayLike<number>) =>
      Float32Array.from([...Array.from(row), ...Array.from(values)])
    test(golden.facts.name, async () => {
      const position = {
        shape: [1, 1 + from ** 2, width],
        values: withRow(golden.inputs.x!.values, before),
        parameter: true,
      }
      const { outputs, gradients } = await runCase(
        device,
        {
          name: 'resizePosition',
          inputs: { position },
          build: (graph, inputs) => ({ y: resizePosition(graph, inputs.position!, from, to) }),
        },
        { y: withRow(golden.wanted.dy, before) },
      )
      assertClose(outputs.y!, withRow(golden.wanted.y, before), 1e-5, 'y')
      assertClose(gradients.position!, withRow(golden.wanted.gradients.get('x')!, before), 1e-5, 'gradient')
      if (from === to) assert.deepEqual(outputs.y, position.values)
    })
  }
  test('patch embedding against a convolution of kernel 8, stride 8', async () => {
    const golden = (await goldenCases('convolution', ['weight', 'bias'])).find(
      ({ facts }) => facts.attributes.kernel === 8,
    )!
    await checkGolden(
      device,
      caseOf(golden, (graph, { x, weight, bias }) => ({ y: linear(graph, patches(graph, x!, 8), weight!, bias!) })),
      golden.wanted,
    )
  })
  test('finite differences of class token, position and patches', () =>
    checkGradients(device, {
      name: 'tokens',
      inputs: {
        patches: { shape: [3, 4, 7], values: randomValues([3, 4, 7], 1) },
        classToken: { shape: [1, 1, 7], values: randomValues([7], 2), parameter: true },
        position: { shape: [1, 10, 7], values: randomValues([1, 10, 7], 3), parameter: true },
      },
      build: (graph, inputs) => {
        const y = tokens(graph, inputs.patches!, inputs.classToken!, resizePosition(graph, inputs.position!, 3, 2))
        return { y, first: selectToken(graph, y) }
      },
    }))
})
