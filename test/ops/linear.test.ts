import { after, describe, test } from 'node:test'
import { openDevice } from '../../lib/native.js'
import { linear, linearGelu } from '../../lib/ops/index.js'
import { caseOf, goldenCases } from './golden-cases.js'
import type { OpCase } from './harness.js'
import { checkGolden, checkGradients, randomValues } from './harness.js'

const device = await openDevice('cpu', { threads: 2 })
after(() => device.close())

describe('linear', async () => {
  for (const golden of await goldenCases('linear', ['weight', 'bias'])) {
    const gelu = golden.facts.attributes.activation === 'gelu'
    const opCase = caseOf(golden, (graph, { x, weight, bias }) => ({
      y: gelu ? linearGelu(graph, x!, weight!, bias!) : linear(graph, x!, weight!, bias),
    }))
    test(golden.facts.name, () => checkGolden(device, opCase, golden.wanted))
  }
  for (const golden of await goldenCases('gelu', [])) {
    // GELU alone: an identity product before it.
    const n = golden.facts.inputs.x![0]!
    const identity = Float32Array.from({ length: n * n }, (_, index) => (index % (n + 1) === 0 ? 1 : 0))
    const opCase: OpCase = {
      name: 'gelu',
      inputs: {
        x: { shape: [1, n], values: golden.inputs.x!.values },
        weight: { shape: [n, n], values: identity, parameter: true },
        bias: { shape: [n], values: new Float32Array(n), parameter: true },
      },
      build: (graph, { x, weight, bias }) => ({ y: linearGelu(graph, x!, weight!, bias!) }),
    }
    test('gelu', () => checkGolden(device, opCase, golden.wanted))
  }
  // More rows than one cache block holds, and sizes that no vector width divides.
  for (const [rows, into, out] of [
    [1, 1, 1],
    [1031, 37, 53],
    [3, 130, 17],
  ] as const)
    for (const gelu of [false, true])
      test(`finite differences ${rows} x ${into} -> ${out}${gelu ? ' with gelu' : ''}`, () =>
        checkGradients(device, {
          name: 'linear',
          inputs: {
            x: { shape: [rows, into], values: randomValues([rows, into], 1) },
            weight: { shape: [out, into], values: randomValues([out, into], 2), parameter: true },
            bias: { shape: [out], values: randomValues([out], 3), parameter: true },
          },
          build: (graph, { x, weight, bias }) => ({ y: (gelu ? linearGelu : linear)(graph, x!, weight!, bias!) }),
        }))
})
