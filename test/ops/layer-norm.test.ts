import { layerNorm, residualNorm } from '../../lib/ops/index.js'
import { openTestDevice } from '../device.js'
import { test } from '../serial.js'
import { caseOf, goldenCases } from './golden-cases.js'
import { checkGolden, checkGradients, randomValues } from './harness.js'

const device = await openTestDevice()
const layerNormCases = await goldenCases('layer_norm', ['weight', 'bias'])
test.after.always(() => device.close())

for (const golden of layerNormCases)
  test(`layer norm: ${golden.facts.name}`, (t) =>
    checkGolden(
      t,
      device,
      caseOf(golden, (graph, { x, weight, bias }) => ({
        y: layerNorm(graph, x!, weight!, bias!, Number(golden.facts.attributes.eps)),
      })),
      golden.wanted,
    ))

const [batch, tokens, width] = [3, 5, 19]
const shape = [batch, tokens, width]
const inputs = {
  x: { shape, values: randomValues(shape, 1) },
  branch: { shape, values: randomValues(shape, 2) },
  gamma: { shape: [width], values: randomValues([width], 3), parameter: true },
  beta: { shape: [width], values: randomValues([width], 4), parameter: true },
}
test('layer norm: finite differences after a residual addition', (t) =>
  checkGradients(t, device, {
    name: 'residualNorm',
    inputs,
    build: (graph, { x, branch, gamma, beta }) => residualNorm(graph, x!, branch!, gamma!, beta!, 1e-6),
  }))
const scale = { shape: [batch, 4], values: Float32Array.of(1, 1, 0, 1, 1, 1, 1.25, 1, 1, 1, 1.25, 1) }
for (const names of [['sum', 'y'], ['y']])
  test(`layer norm: finite differences with stochastic depth, using ${names.join(' and ')}`, (t) =>
    checkGradients(t, device, {
      name: 'residualNorm',
      inputs,
      constants: { scale },
      build: (graph, { x, branch, gamma, beta, scale }) => {
        const result = residualNorm(graph, x!, branch!, gamma!, beta!, 1e-6, { scale: scale!, path: 2 })
        return Object.fromEntries(Object.entries(result).filter(([name]) => names.includes(name)))
      },
    }))
