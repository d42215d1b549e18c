import { addTensor, createGraph } from '../../lib/graph/graph.js'
import type { Outlook } from '../../lib/ops/index.js'
import { linear, outlookAttention } from '../../lib/ops/index.js'
import { openTestDevice } from '../device.js'
import { assertClose } from '../golden.js'
import { test } from '../serial.js'
import { caseOf, goldenCases } from './golden-cases.js'
import type { OpCase } from './harness.js'
import { checkGradients, randomValues, runCase } from './harness.js'

const device = await openTestDevice()
const parameters = ['v_weight', 'attn_weight', 'attn_bias', 'proj_weight', 'proj_bias']
const outlookAttentionCases = await goldenCases('outlook_attention', parameters)
test.after.always(() => device.close())

interface Sizes extends Outlook {
  readonly batch: number
  readonly height: number
  readonly width: number
  /** Values of a head. */
  readonly size: number
}

const windowsOf = ({ height, width, stride }: Sizes) => [Math.ceil(height / stride), Math.ceil(width / stride)] as const
const valuesShape = (s: Sizes) => [s.batch, s.height, s.width, s.heads * s.size]
const scoresShape = (s: Sizes) => [s.batch, ...windowsOf(s), s.heads * s.kernel ** 4]

/** For each element of the unfolded map (B, h, w, heads, kernel^2, size), its place in the map, or -1 beyond it. */
function unfolded(s: Sizes): number[] {
  const [rows, columns] = windowsOf(s)
  const places: number[] = []
  for (let image = 0; image < s.batch; image++)
    for (let window = 0; window < rows * columns; window++)
      for (let head = 0; head < s.heads; head++)
        for (let place = 0; place < s.kernel ** 2; place++)
          for (let e = 0; e < s.size; e++) {
            const y = Math.floor(window / columns) * s.stride - s.padding + Math.floor(place / s.kernel)
            const x = (window % columns) * s.stride - s.padding + (place % s.kernel)
            const inside = y >= 0 && y < s.height && x >= 0 && x < s.width
            places.push(inside ? (((image * s.height + y) * s.width + x) * s.heads + head) * s.size + e : -1)
          }
  return places
}

/** From the definition, in doubles, by way of the unfolded maps that the op avoids; gradients of sum(y dy). */
function reference(s: Sizes, values: Float32Array, scores: Float32Array, dy: Float32Array) {
  const places = unfolded(s)
  const unfold = (map: ArrayLike<number>) => Float64Array.from(places, (at) => (at < 0 ? 0 : map[at]!))
  const fold = (parts: Float64Array) => {
    const map = new Float64Array(values.length)
    for (const [i, at] of places.entries()) if (at >= 0) map[at]! += parts[i]!
    return map
  }
  const area = s.kernel ** 2
  const scale = 1 / Math.sqrt(s.size)
  const [v, dout] = [unfold(values), unfold(dy)]
  const [out, dv] = [new Float64Array(v.length), new Float64Array(v.length)]
  const dscores = new Float64Array(scores.length)
  for (let matrix = 0; matrix * area < scores.length / area; matrix++)
    for (let i = 0; i < area; i++) {
      const at = (matrix * area + i) * area
      const row = Array.from(scores.subarray(at, at + area), (score) => score * scale)
      const largest = Math.max(...row)
      const exponentials = row.map((score) => Math.exp(score - largest))
      const sum = exponentials.reduce((a, b) => a + b)
      const p = exponentials.map((value) => value / sum)
      const slopes = p.map(() => 0)
      for (let j = 0; j < area; j++)
        for (let e = 0; e < s.size; e++) {
          const [from, to] = [(matrix * area + i) * s.size + e, (matrix * area + j) * s.size + e]
          out[from]! += p[j]! * v[to]!
          dv[to]! += p[j]! * dout[from]!
          slopes[j]! += dout[from]! * v[to]!
        }
      const mean = p.reduce((total, value, j) => total + value * slopes[j]!, 0)
      for (let j = 0; j < area; j++) dscores[at + j] = scale * p[j]! * (slopes[j]! - mean)
    }
  return { y: fold(out), values: fold(dv), scores: dscores }
}

const valuesOf = (s: Sizes) => randomValues(valuesShape(s), 1)
const scoresOf = (s: Sizes, spread: number) => randomValues(scoresShape(s), 2, spread)

const outlookCase = (s: Sizes, spread: number): OpCase => ({
  name: 'outlookAttention',
  inputs: {
    values: { shape: valuesShape(s), values: valuesOf(s) },
    scores: { shape: scoresShape(s), values: scoresOf(s, spread) },
  },
  build: (graph, inputs) => ({ y: outlookAttention(graph, inputs.values!, inputs.scores!, s) }),
})

const sizes = (map: [number, number, number], heads: number, size: number, window: [number, number, number]): Sizes => {
  const [batch, height, width] = map
  const [kernel, stride, padding] = window
  return { batch, height, width, heads, size, kernel, stride, padding }
}

const cases = [
  sizes([2, 6, 6], 2, 8, [3, 2, 1]),
  sizes([1, 5, 7], 3, 5, [3, 2, 1]), // windows beyond the last row and column, heads that no vector divides
  sizes([2, 8, 9], 2, 32, [3, 2, 1]), // heads of VOLO-D1
  sizes([2, 4, 3], 1, 12, [3, 1, 1]),
  sizes([1, 1, 1], 2, 3, [3, 2, 1]), // one position, one window
  sizes([1, 1, 6], 1, 1, [3, 1, 1]),
  sizes([1, 7, 8], 2, 4, [5, 2, 2]), // up to nine windows over a position
  sizes([3, 6, 4], 1, 6, [2, 2, 0]), // windows that do not overlap
  sizes([1, 5, 3], 2, 4, [1, 2, 0]), // positions in no window
  sizes([2, 3, 3], 3, 2, [1, 1, 0]), // every position by itself
  // So wide that a part of the work is a row or two, and windows reach into several parts.
  sizes([2, 3, 30], 2, 160, [3, 2, 1]),
  sizes([1, 3, 30], 1, 230, [3, 1, 1]),
  sizes([1, 4, 18], 1, 500, [5, 2, 2]),
]

for (const s of cases)
  test(`outlook attention: follows its definition: ${JSON.stringify(s)}`, async (t) => {
    for (const spread of [1, 60]) {
      const dy = randomValues(valuesShape(s), 3)
      const { outputs, gradients } = await runCase(t, device, outlookCase(s, spread), { y: dy })
      const wanted = reference(s, valuesOf(s), scoresOf(s, spread), dy)
      assertClose(t, outputs.y!, wanted.y, 1e-5, 'y')
      assertClose(t, gradients.values!, wanted.values, 1e-5, 'gradient of the values')
      assertClose(t, gradients.scores!, wanted.scores, 1e-5, 'gradient of the scores')
    }
  })
for (const s of cases.slice(0, 4))
  test(`outlook attention: finite differences: ${JSON.stringify(s)}`, (t) =>
    checkGradients(t, device, outlookCase(s, 1)))
test('outlook attention: the same bits for any number of threads', async (t) => {
  const s = sizes([2, 7, 25], 3, 120, [3, 2, 1])
  const dy = { y: randomValues(valuesShape(s), 3) }
  const wanted = await runCase(t, device, outlookCase(s, 1), dy)
  for (const threads of [1, 3]) {
    const other = await openTestDevice({ threads })
    t.deepEqual(await runCase(t, other, outlookCase(s, 1), dy), wanted)
    await other.close()
  }
})
test('outlook attention: shapes that do not fit are named', (t) => {
  const graph = createGraph()
  const tensor = (...shape: number[]) => addTensor(graph, 'x', shape)
  const outlook = { heads: 2, kernel: 3, stride: 2, padding: 1 }
  const scores = tensor(1, 3, 3, 162)
  t.throws(() => outlookAttention(graph, tensor(1, 6, 5, 8), tensor(1, 3, 2, 162), outlook), {
    message: /outlookAttention: Expected shape \[1, 3, 3, 162\] for scores but received \[1, 3, 2, 162\]/,
  })
  t.throws(() => outlookAttention(graph, tensor(1, 6, 5, 9), scores, outlook), {
    message:
      /outlookAttention: Expected shape a number of channels that 2 heads divide for values but received \[1, 6, 5, 9\]/,
  })
  t.throws(() => outlookAttention(graph, tensor(1, 30, 8), scores, outlook), {
    message: /\[batch, height, width, channels\]/,
  })
  t.throws(() => outlookAttention(graph, tensor(1, 6, 5, 8), scores, { ...outlook, padding: 0 }), {
    message: /a map of 3 x 3 windows \(kernel 3, stride 2, padding 0\) for values but received \[1, 6, 5, 8\]/,
  })
})

/** Average pooling with windows that do not overlap, the last ones cut off at the edge; and its gradient. */
function pool(shape: readonly number[], stride: number) {
  const [batch, height, width, channels] = shape as [number, number, number, number]
  const [rows, columns] = [Math.ceil(height / stride), Math.ceil(width / stride)]
  const inside = (window: number, extent: number) => Math.min(stride, extent - window * stride)
  const each = (body: (from: number, to: number, share: number) => void) => {
    for (let at = 0; at < batch * height * width * channels; at++) {
      const channel = at % channels
      const x = Math.floor(at / channels) % width
      const y = Math.floor(at / channels / width) % height
      const image = Math.floor(at / channels / width / height)
      const [row, column] = [Math.floor(y / stride), Math.floor(x / stride)]
      const count = inside(row, height) * inside(column, width)
      body(at, ((image * rows + row) * columns + column) * channels + channel, 1 / count)
    }
  }
  return {
    shape: [batch, rows, columns, channels],
    forward: (x: ArrayLike<number>) => {
      const y = new Float32Array(batch * rows * columns * channels)
      each((from, to, share) => {
        y[to]! += share * x[from]!
      })
      return y
    },
    backward: (dy: ArrayLike<number>) => {
      const dx = new Float32Array(batch * height * width * channels)
      each((from, to, share) => {
        dx[from] = share * dy[to]!
      })
      return dx
    },
  }
}

for (const golden of outlookAttentionCases) {
  const { heads, kernel, stride, padding } = golden.facts.attributes as unknown as Outlook
  test(`outlook attention against timm: ${golden.facts.name}`, async (t) => {
    const x = golden.inputs.x!
    const pooling = pool(x.shape, stride)
    const inputs = {
      ...golden.inputs,
      pooled: { shape: pooling.shape, values: pooling.forward(x.values as Float32Array) },
    }
    const { outputs, gradients } = await runCase(
      t,
      device,
      {
        ...caseOf(golden, (graph, t) => {
          const scores = linear(graph, t.pooled!, t.attn_weight!, t.attn_bias!)
          const y = outlookAttention(graph, linear(graph, t.x!, t.v_weight!), scores, {
            heads,
            kernel,
            stride,
            padding,
          })
          return { y: linear(graph, y, t.proj_weight!, t.proj_bias!) }
        }),
        inputs,
      },
      { y: golden.wanted.dy },
    )
    // The pooled map is an input of its own: the part of x's gradient that comes through it is added here.
    const pooled = pooling.backward(gradients.pooled!)
    const dx = gradients.x!.map((value, i) => value + pooled[i]!)
    assertClose(t, outputs.y!, golden.wanted.y, 1e-5, 'y')
    t.is(golden.wanted.gradients.size, 6)
    for (const [key, wanted] of golden.wanted.gradients)
      assertClose(t, key === 'x' ? dx : gradients[key]!, wanted, 1e-5, `gradient of ${key}`)
  })
}
