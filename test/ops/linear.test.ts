import { linear, linearGelu } from '../../lib/ops/index.js'
import { openTestDevice } from '../device.js'
import { test } from '../serial.js'
import { unless } from '../unless.js'
import { caseOf, goldenCases } from './golden-cases.js'
import type { OpCase } from './harness.js'
import { checkGolden, checkGradients, randomValues, runCase } from './harness.js'

const device = await openTestDevice()
const linearCases = await goldenCases('linear', ['weight', 'bias'])
const geluCases = await goldenCases('gelu', [])
test.after.always(() => device.close())

for (const golden of linearCases) {
  const gelu = golden.facts.attributes.activation === 'gelu'
  const opCase = caseOf(golden, (graph, { x, weight, bias }) => ({
    y: gelu ? linearGelu(graph, x!, weight!, bias!) : linear(graph, x!, weight!, bias),
  }))
  test(`linear: ${golden.facts.name}`, (t) => checkGolden(t, device, opCase, golden.wanted))
}
for (const golden of geluCases) {
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
  test('linear: gelu', (t) => checkGolden(t, device, opCase, golden.wanted))
}
unless(device.kind === 'cpu' && 'TF32 is of GPUs')(
  'linear: TF32 rounds factors to 10 bits of mantissa, where asked for',
  async (t) => {
    const n = 128
    const opCase: OpCase = {
      name: 'linear',
      inputs: {
        x: { shape: [n, n], values: new Float32Array(n * n).fill(1 + 2 ** -12) },
        weight: { shape: [n, n], values: new Float32Array(n * n).fill(1), parameter: true },
        bias: { shape: [n], values: new Float32Array(n), parameter: true },
      },
      build: (graph, { x, weight, bias }) => ({ y: linear(graph, x!, weight!, bias!) }),
    }
    const rounding = await openTestDevice({ tf32: true })
    t.is((await runCase(t, device, opCase)).outputs.y![0], n * (1 + 2 ** -12))
    t.is((await runCase(t, rounding, opCase)).outputs.y![0], n)
    await rounding.close()
  },
)
// More rows than one cache block holds, and sizes that no vector width divides.
for (const [rows, into, out] of [
  [1, 1, 1],
  [1031, 37, 53],
  [3, 130, 17],
] as const)
  for (const gelu of [false, true])
    test(`linear: finite differences ${rows} x ${into} -> ${out}${gelu ? ' with gelu' : ''}`, (t) =>
      checkGradients(t, device, {
        name: 'linear',
        inputs: {
          x: { shape: [rows, into], values: randomValues([rows, into], 1) },
          weight: { shape: [out, into], values: randomValues([out, into], 2), parameter: true },
          bias: { shape: [out], values: randomValues([out], 3), parameter: true },
        },
        build: (graph, { x, weight, bias }) => ({ y: (gelu ? linearGelu : linear)(graph, x!, weight!, bias!) }),
      }))
