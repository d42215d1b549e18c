import { addTensor } from '../../lib/graph/graph.js'
import { countCorrect, crossEntropy, oneHot, zero } from '../../lib/ops/index.js'
import { openTestDevice } from '../device.js'
import { assertClose } from '../golden.js'
import { test } from '../serial.js'
import { caseOf, goldenCases } from './golden-cases.js'
import { checkGolden, randomValues, runCase } from './harness.js'

const device = await openTestDevice()
const softCrossEntropyCases = await goldenCases('soft_cross_entropy', [])
test.after.always(() => device.close())

/** weight * the sum of -t log softmax over all rows, and its gradient, in doubles. */
function reference(logits: Float32Array, targets: Float32Array, classes: number, weight: number) {
  let loss = 0
  const gradient = new Float64Array(logits.length)
  for (let from = 0; from < logits.length; from += classes) {
    const exponentials = Array.from(logits.subarray(from, from + classes), Math.exp)
    const sum = exponentials.reduce((a, b) => a + b)
    for (const [i, exponential] of exponentials.entries()) {
      const target = targets[from + i]!
      loss -= weight * target * Math.log(exponential / sum)
      gradient[from + i] = weight * (exponential / sum - target) // the targets of a row add up to 1
    }
  }
  return { loss, gradient }
}

for (const golden of softCrossEntropyCases)
  test(`cross entropy: ${golden.facts.name}`, (t) => {
    // The op gives the gradient of the loss itself: dy is 1.
    const scale = golden.wanted.dy[0]!
    const gradients = new Map(
      [...golden.wanted.gradients].map(([key, values]) => [key, values.map((value) => value / scale)]),
    )
    const { targets, ...inputs } = golden.inputs
    return checkGolden(
      t,
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
test('cross entropy: several add to one loss, each with its own rows and divisor', async (t) => {
  // As of a network with two heads, where the second one's logits (B, N, C) also count towards the first loss.
  const [batch, count, classes] = [3, 4, 5]
  const tokens = randomValues([batch, count, classes], 1, 3)
  const logits = randomValues([batch, classes], 2, 3)
  const soft = (rows: number, seed: number) => {
    const values = randomValues([rows, classes], seed).map(Math.abs)
    return values.map((value, i) => {
      const from = i - (i % classes)
      return value / values.subarray(from, from + classes).reduce((a, b) => a + b)
    })
  }
  const [targets, tokenTargets] = [soft(batch, 3), soft(batch * count, 4)]
  const { outputs, gradients } = await runCase(
    t,
    device,
    {
      name: 'crossEntropy',
      inputs: {
        logits: { shape: [batch, classes], values: logits },
        tokens: { shape: [batch, count, classes], values: tokens },
      },
      constants: {
        targets: { shape: [batch, classes], values: targets },
        tokenTargets: { shape: [batch, count, classes], values: tokenTargets },
      },
      build: (graph, t) => {
        const loss = addTensor(graph, 'loss', [1])
        zero(graph, loss)
        crossEntropy(graph, t.logits!, t.targets!, batch, loss)
        crossEntropy(graph, t.tokens!, t.tokenTargets!, 2 * batch * count, loss)
        crossEntropy(graph, t.logits!, t.targets!, 0.75, loss)
        return { loss }
      },
    },
    { loss: Float32Array.of(1) },
  )
  const first = reference(logits, targets, classes, 1 / batch + 1 / 0.75)
  const second = reference(tokens, tokenTargets, classes, 0.5 / (batch * count))
  assertClose(t, outputs.loss!, [first.loss + second.loss], 1e-6, 'loss')
  assertClose(t, gradients.logits!, first.gradient, 1e-6, 'gradient of the logits')
  assertClose(t, gradients.tokens!, second.gradient, 1e-6, 'gradient of the tokens')
})
test('cross entropy: a divisor that is no positive number is an error', async (t) => {
  const one = { shape: [1, 2], values: Float32Array.of(0, 1) }
  for (const divisor of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
    await t.throwsAsync(
      runCase(t, device, {
        name: 'crossEntropy',
        inputs: { logits: one },
        constants: { targets: one },
        build: (graph, t) => {
          const loss = addTensor(graph, 'loss', [1])
          zero(graph, loss)
          crossEntropy(graph, t.logits!, t.targets!, divisor, loss)
          return { loss }
        },
      }),
      { message: /Expected a positive number for attribute divisor/ },
    )
})
test('cross entropy: targets from class indices', async (t) => {
  const { outputs } = await runCase(t, device, {
    name: 'oneHot',
    inputs: { labels: { shape: [2], values: Int32Array.of(3, 0) } },
    build: (graph, { labels }) => ({ y: oneHot(graph, labels!, 4, 0.1) }),
  })
  const rest = Math.fround(0.1) / 4
  t.deepEqual(
    [...outputs.y!].map((value) => value.toFixed(6)),
    [rest, rest, rest, 0.9 + rest, 0.9 + rest, rest, rest, rest].map((value) => value.toFixed(6)),
  )
})
test('cross entropy: a label out of range is an error, not a write out of bounds', async (t) => {
  const build = runCase(t, device, {
    name: 'oneHot',
    inputs: { labels: { shape: [2], values: Int32Array.of(3, 4) } },
    build: (graph, { labels }) => ({ y: oneHot(graph, labels!, 4, 0) }),
  })
  // A GPU's kernels cannot complain; sessions look at the labels before they go there.
  if (device.kind === 'cpu') await t.throwsAsync(build, { message: /Expected labels from 0 to 3 but received 4/ })
  else t.deepEqual([...(await build).outputs.y!], [0, 0, 0, 1, 0, 0, 0, 0])
})
test('cross entropy: counts: ties go to the lower class, and what is not a number is never right', async (t) => {
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
  const { outputs } = await runCase(t, device, {
    name: 'counts',
    inputs: { logits: { shape: [4, 6], values: logits }, labels: { shape: [4], values: Int32Array.of(0, 5, 1, 0) } },
    build: (graph, inputs) => {
      const counts = addTensor(graph, 'counts', [2], { type: 'i32' })
      zero(graph, counts)
      countCorrect(graph, inputs.logits!, inputs.labels!, counts)
      return { counts }
    },
  })
  t.deepEqual([...outputs.counts!], [2, 2])
})
