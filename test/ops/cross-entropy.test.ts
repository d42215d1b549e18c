import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { addTensor } from '../../lib/graph/graph.js'
import { countCorrect, crossEntropy, oneHot, zero } from '../../lib/ops/index.js'
import { openTestDevice } from '../device.js'
import { caseOf, goldenCases } from './golden-cases.js'
import { checkGolden, runCase } from './harness.js'

const device = await openTestDevice()
after(() => device.close())

describe('cross entropy', async () => {
  for (const golden of await goldenCases('soft_cross_entropy', []))
    test(golden.facts.name, () => {
      // The op gives the gradient of the loss itself: dy is 1.
      const scale = golden.wanted.dy[0]!
      const gradients = new Map(
        [...golden.wanted.gradients].map(([key, values]) => [key, values.map((value) => value / scale)]),
      )
      const { targets, ...inputs } = golden.inputs
      return checkGolden(
        device,
        {
          ...caseOf(golden, (graph, tensors) => {
            const loss = addTensor(graph, 'loss', [1])
            zero(graph, loss)
            crossEntropy(graph, tensors.logits!, tensors.targets!, golden.facts.inputs.logits![0]!, loss)
            return { y: loss }
          }),
          inputs,
          constants: { targets: targets! },
        },
        { ...golden.wanted, gradients },
      )
    })
  test('targets from class indices', async () => {
    const { outputs } = await runCase(device, {
      name: 'oneHot',
      inputs: { labels: { shape: [2], values: Int32Array.of(3, 0) } },
      build: (graph, { labels }) => ({ y: oneHot(graph, labels!, 4, 0.1) }),
    })
    const rest = Math.fround(0.1) / 4
    assert.deepEqual(
      [...outputs.y!].map((value) => value.toFixed(6)),
      [rest, rest, rest, 0.9 + rest, 0.9 + rest, rest, rest, rest].map((value) => value.toFixed(6)),
    )
  })
  test('a label out of range is an error, not a write out of bounds', async () => {
    const build = runCase(device, {
      name: 'oneHot',
      inputs: { labels: { shape: [2], values: Int32Array.of(3, 4) } },
      build: (graph, { labels }) => ({ y: oneHot(graph, labels!, 4, 0) }),
    })
    // A GPU's kernels cannot complain; sessions look at the labels before they go there.
    if (device.kind === 'cpu') await assert.rejects(build, /Expected labels from 0 to 3 but received 4/)
    else assert.deepEqual([...(await build).outputs.y!], [0, 0, 0, 1, 0, 0, 0, 0])
  })
  test('counts: ties go to the lower class, and what is not a number is never right', async () => {
    const logits = Float32Array.of(
      0,
      0,
      0,
      0,
      0,
      0,
      /**/ 0,
      0,
      0,
      0,
      0,
      0,
      /**/ 1,
      9,
      2,
      3,
      4,
      5,
      /**/ NaN,
      0,
      0,
      0,
      0,
      0,
    )
    const { outputs } = await runCase(device, {
      name: 'counts',
      inputs: { logits: { shape: [4, 6], values: logits }, labels: { shape: [4], values: Int32Array.of(0, 5, 1, 0) } },
      build: (graph, inputs) => {
        const counts = addTensor(graph, 'counts', [2], { type: 'i32' })
        zero(graph, counts)
        countCorrect(graph, inputs.logits!, inputs.labels!, counts)
        return { counts }
      },
    })
    assert.deepEqual([...outputs.counts!], [2, 2])
  })
})
