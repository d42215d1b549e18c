import type { ExecutionContext } from 'ava'
import { addTensor, createGraph } from '../../lib/graph/graph.js'
import type { AlignOptions } from '../../lib/ops/index.js'
import { alignLabels } from '../../lib/ops/index.js'
import { draw, Purpose, toInteger, toUnit } from '../../lib/random.js'
import { openTestDevice } from '../device.js'
import { assertClose } from '../golden.js'
import { same } from '../same.js'
import { test } from '../serial.js'
import { runCase } from './harness.js'
import { alignedLabels, type Maps } from './label-maps.js'

const device = await openTestDevice()
test.after.always(() => device.close())

async function run(
  t: ExecutionContext,
  { shape, classes, scores, regions }: Maps,
  options: AlignOptions,
): Promise<Float32Array> {
  const { outputs } = await runCase(t, device, {
    name: 'alignLabels',
    inputs: {
      classes: { shape, values: classes },
      scores: { shape, values: scores },
      regions: { shape: [shape[0], 5], values: regions },
    },
    build: (graph, inputs) => ({
      y: alignLabels(graph, inputs.classes!, inputs.scores!, inputs.regions!, options),
    }),
  })
  return outputs.y!
}

/** Maps whose scores add up to less than 1 at every position; of two equal classes, both count. */
function randomMaps(shape: Maps['shape'], classCount: number, regions: readonly (readonly number[])[], seed = 1): Maps {
  const size = shape.reduce((product, extent) => product * extent)
  const words = Array.from({ length: size }, (_, index) => draw(seed, Purpose.augmentation, 0, index))
  return {
    shape,
    classes: Int32Array.from(words, ([word]) => toInteger(word, classCount)),
    scores: Float32Array.from(words, ([, word]) => toUnit(word) / shape[1]),
    regions: Float32Array.from(regions.flat()),
  }
}

const whole = [0, 0, 1, 1, 0]
const mirrored = [0, 0, 1, 1, 1]
const part = [0.13, 0.4, 0.71, 0.93, 0]
const mirroredPart = [0.13, 0.4, 0.71, 0.93, 1]
const speck = [0.5, 0.5, 0.52, 0.51, 0]
const padded = [-0.25, 0.1, 0.75, 1.1, 1]
const beside = [2, -3, 3, -2.5, 0]

for (const [name, shape, classCount, grid, regions] of [
  ['grids of one size', [3, 3, 4, 4], 7, 4, [whole, mirrored, part]],
  ['sizes that divide nothing', [5, 2, 7, 5], 11, 3, [whole, mirrored, part, mirroredPart, padded]],
  ['a finer grid', [2, 5, 3, 3], 5, 8, [part, mirrored]],
  ['one cell, as of a class label', [2, 1, 1, 1], 4, 3, [part, beside]],
  ['one token', [1, 3, 6, 9], 3, 1, [mirroredPart]],
  ['a single image', [1, 1, 2, 5], 2, 2, [speck]],
  ['regions outside of the map', [3, 4, 5, 6], 40, 4, [padded, beside, [-1, -1, 2, 2, 0]]],
  ['many classes', [2, 5, 4, 4], 1000, 3, [part, padded]],
  ['one class', [1, 2, 3, 3], 1, 2, [part]],
] as const)
  test(`alignLabels follows its definition: ${name}`, async (t) => {
    const maps = randomMaps(shape, classCount, regions)
    for (const options of [{}, { smoothing: 0.1 }, { logits: true }, { logits: true, smoothing: 0.1 }]) {
      const scores = options.logits ? maps.scores.map((value) => 20 * value - 2) : maps.scores
      const given = { ...maps, scores }
      const y = await run(t, given, { grid, classCount, ...options })
      assertClose(t, y, alignedLabels(given, { grid, classCount, ...options }), 1e-5, JSON.stringify(options))
      for (let row = 0; row < y.length; row += classCount) {
        const sum = y.subarray(row, row + classCount).reduce((total, value) => total + value, 0)
        t.true(Math.abs(sum - 1) < 1e-5, `a distribution: ${sum}`)
      }
    }
  })

test('alignLabels follows its definition: the same maps give the same bits, whatever lies beside them in the batch', async (t) => {
  const maps = randomMaps([4, 3, 5, 5], 9, [part, whole, padded, mirrored])
  const y = await run(t, maps, { grid: 4, classCount: 9 })
  same(t, await run(t, maps, { grid: 4, classCount: 9 }), y)
  const second = { ...randomMaps([1, 3, 5, 5], 9, [whole]), classes: maps.classes.slice(75, 150) }
  const alone = await run(t, { ...second, scores: maps.scores.slice(75, 150) }, { grid: 4, classCount: 9 })
  same(t, alone, y.slice(16 * 9, 32 * 9))
})

test('a map as fine as the grid comes through as it is, mirrored where the image was', async (t) => {
  const [side, classCount] = [4, 6]
  const { classes } = randomMaps([2, 1, side, side], classCount, [whole, mirrored])
  classes.copyWithin(16, 0, 16)
  const scores = new Float32Array(32).fill(1)
  const regions = Float32Array.from([...whole, ...mirrored])
  const y = await run(t, { shape: [2, 1, side, side], classes, scores, regions }, { grid: side, classCount })
  for (let token = 0; token < 32; token++) {
    const [row, column] = [(token % 16) >> 2, token % 4]
    const label = classes[4 * row + (token < 16 ? column : 3 - column)]!
    const wanted = Array.from({ length: classCount }, (_, index) => (index === label ? 1 : 0))
    t.deepEqual([...y.subarray(token * classCount, (token + 1) * classCount)], wanted, `token ${token}`)
  }
})

test('a map of one class gives every token that class, wherever the region lies', async (t) => {
  const shape = [4, 2, 3, 5] as const
  const classes = new Int32Array(120).fill(3)
  const scores = new Float32Array(120).fill(0.25)
  for (const regions of [
    [part, speck, padded, beside],
    [mirrored, [0.3, 0.3, 0.3, 0.3, 0], [0.9, 0.9, 0.1, 0.1, 1], [-1e9, -1e9, 1e9, 1e9, 0]],
  ]) {
    const y = await run(
      t,
      { shape, classes, scores, regions: Float32Array.from(regions.flat()) },
      { grid: 5, classCount: 5 },
    )
    assertClose(
      t,
      y,
      Array.from(y, (_, index) => (index % 5 === 3 ? 0.6 : 0.1)),
      1e-5,
      'half of one class, half of all',
    )
  }
})

test('what is no region, and on a GPU no class, reads nothing out of bounds', async (t) => {
  const nothing = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, Number.NaN]
  const maps = randomMaps([2, 2, 3, 3], 4, [nothing, whole])
  const y = await run(t, maps, { grid: 2, classCount: 4 })
  const sums = [0, 1, 2, 3].map((row) => y.subarray(16 + 4 * row, 20 + 4 * row).reduce((a, b) => a + b))
  assertClose(t, sums, [1, 1, 1, 1], 1e-5, 'the image beside it')
  maps.classes[0] = 4
  maps.classes[1] = -1
  const wrong = run(t, maps, { grid: 2, classCount: 4 })
  if (device.kind === 'cpu')
    await t.throwsAsync(wrong, { code: 'DATA', message: /Expected classes from 0 to 3 but received 4/ })
  else t.is((await wrong).length, 32)
})

test('shapes that do not fit are named', (t) => {
  const graph = createGraph()
  const tensor = (shape: number[], type: 'f32' | 'i32' = 'f32') => addTensor(graph, 'tensor', shape, { type })
  const options = { grid: 2, classCount: 3 }
  const classes = tensor([2, 3, 4, 5], 'i32')
  t.throws(() => alignLabels(graph, tensor([2, 3, 4], 'i32'), tensor([2, 3, 4]), tensor([2, 5]), options), {
    message: /alignLabels: Expected shape \[batch, best, height, width\] for classes but received \[2, 3, 4\]/,
  })
  t.throws(() => alignLabels(graph, classes, tensor([2, 3, 5, 4]), tensor([2, 5]), options), {
    message: /alignLabels: Expected shape \[2, 3, 4, 5\] for scores/,
  })
  t.throws(() => alignLabels(graph, classes, tensor([2, 3, 4, 5]), tensor([2, 4]), options), {
    message: /alignLabels: Expected shape \[2, 5\] for regions/,
  })
})
