import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keptLayers, outlookerSplit, runningBlocks } from '../../lib/growth/layer-map.js'
import type { CountFrom, GrowthOperator } from '../../lib/growth/operators.js'
import { averagedLayers, grow, growBlocks, ownLayers } from '../../lib/growth/operators.js'
import { growth, more } from './tables.js'

const operators: readonly GrowthOperator[] = ['mogrow', 'interpolation', 'stacking', 'rand-init']
const sources = (operator: GrowthOperator, small: number, large: number, from?: CountFrom) =>
  grow(operator, small, large, from).map(({ source }) => source)

test('sources of every operator in every table', () => {
  assert.equal(growth.operators.length, 11)
  for (const row of growth.operators) {
    const { small, large } = row
    for (const from of ['classifier', 'input', undefined] as const) {
      assert.deepEqual(sources('interpolation', small, large, from), row.interpolation)
      assert.deepEqual(sources('mogrow', small, large, from), row.interpolation)
    }
    assert.deepEqual(sources('stacking', small, large), row.stackingFromClassifier)
    assert.deepEqual(sources('stacking', small, large, 'input'), row.stackingFromInput)
    assert.deepEqual(sources('rand-init', small, large), row.randInitFromClassifier)
    assert.deepEqual(sources('rand-init', small, large, 'input'), row.randInitFromInput)
  }
})

test("VOLO's sources in every table, each kind apart and both over the whole network", () => {
  assert.equal(more.voloOperators.length, 6)
  for (const { splitSmall, splitLarge, outlookers, transformers } of more.voloOperators) {
    assert.deepEqual(sources('interpolation', splitSmall[0], splitLarge[0]), outlookers)
    assert.deepEqual(sources('interpolation', splitSmall[1], splitLarge[1]), transformers)
    const whole = [...outlookers, ...transformers.map((layer) => layer + splitSmall[0])]
    for (const operator of ['interpolation', 'mogrow'] as const)
      assert.deepEqual(
        growBlocks('outlookers', operator, splitSmall, splitLarge).map(({ source }) => source),
        whole,
      )
    const random = growBlocks('outlookers', 'rand-init', splitSmall, splitLarge)
    assert.equal(
      random.filter(({ source }) => source === null).length,
      outlookers.length + transformers.length - sum(splitSmall),
    )
  }
  for (const { small, large, splitSmall, splitLarge } of more.voloOperators)
    assert.deepEqual([outlookerSplit(small), outlookerSplit(large)].map(Object.values), [splitSmall, splitLarge])
})

test('every layer of the small network has one place of its own, and the others are new', () => {
  for (const operator of operators)
    for (const from of ['classifier', 'input'] as const)
      for (let large = 1; large <= 20; large++)
        for (let small = 1; small <= large; small++) {
          const layers = grow(operator, small, large, from)
          assert.equal(layers.length, large)
          const own = ownLayers(layers)
          assert.deepEqual(
            own.map((layer) => layers[layer]!.source),
            [...Array(small).keys()],
            `${operator} ${small} to ${large}`,
          )
          // New layers are random under RandInit, and copies otherwise.
          assert.ok(layers.every(({ source, added }) => (source === null) === (operator === 'rand-init' && added)))
        }
})

test('under Interpolation and MoGrow the own layers are those that smaller sub-networks run', () => {
  for (const { small, large } of growth.operators)
    for (const operator of ['interpolation', 'mogrow'] as const)
      assert.deepEqual(ownLayers(grow(operator, small, large)), keptLayers(small, large))
})

test("a stage's first block stays, and the rest of it grows by itself", () => {
  const grown = growBlocks('stages', 'interpolation', [2, 1, 3], [4, 3, 3])
  assert.deepEqual(
    grown.map(({ source }) => source),
    [0, 1, 1, 1, 2, null, null, 3, 4, 5],
  )
  assert.deepEqual(ownLayers(grown), [0, 1, 4, 7, 8, 9])
  assert.deepEqual(runningBlocks('stages', [2, 1, 3], [4, 3, 3], [2, 1, 3], ownLayers(grown)), [0, 1, 4, 7, 8, 9])
  assert.deepEqual(runningBlocks('stages', [2, 1, 3], [4, 3, 3], [3, 2, 3], ownLayers(grown)), [0, 1, 3, 4, 6, 7, 8, 9])
})

test('growing to the same depth changes nothing', () => {
  for (const operator of operators)
    for (const from of ['classifier', 'input'] as const)
      assert.deepEqual(
        grow(operator, 5, 5, from),
        [0, 1, 2, 3, 4].map((source) => ({ source, added: false })),
      )
})

test('MoGrow alone takes weights from the moving average, in either reading', () => {
  assert.equal(averagedLayers('mogrow', 'all'), 'all')
  assert.equal(averagedLayers('mogrow', 'new'), 'added')
  for (const operator of operators.slice(1))
    for (const reading of ['all', 'new'] as const) assert.equal(averagedLayers(operator, reading), 'none')
})

test('networks do not shrink', () => {
  for (const operator of operators)
    for (const [small, large] of [
      [5, 4],
      [0, 4],
      [1.5, 4],
      [2, Number.NaN],
    ] as const)
      assert.throws(() => grow(operator, small, large), { code: 'CONFIG', message: /growing/ })
  assert.throws(() => growBlocks('outlookers', 'mogrow', [2, 7], [4, 6]), { code: 'CONFIG' })
  assert.throws(() => growBlocks('outlookers', 'mogrow', [9], [4, 14]), { code: 'CONFIG' })
})

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
