import { keptLayers, outlookerSplit, runningBlocks } from '../../lib/growth/layer-map.js'
import type { CountFrom, GrowthOperator } from '../../lib/growth/operators.js'
import { averagedLayers, grow, growBlocks, ownLayers } from '../../lib/growth/operators.js'
import { test } from '../serial.js'
import { growth, more } from './tables.js'

const operators: readonly GrowthOperator[] = ['mogrow', 'interpolation', 'stacking', 'rand-init']
const sources = (operator: GrowthOperator, small: number, large: number, from?: CountFrom) =>
  grow(operator, small, large, from).map(({ source }) => source)

test('sources of every operator in every table', (t) => {
  t.is(growth.operators.length, 11)
  for (const row of growth.operators) {
    const { small, large } = row
    for (const from of ['classifier', 'input', undefined] as const) {
      t.deepEqual(sources('interpolation', small, large, from), row.interpolation)
      t.deepEqual(sources('mogrow', small, large, from), row.interpolation)
    }
    t.deepEqual(sources('stacking', small, large), row.stackingFromClassifier)
    t.deepEqual(sources('stacking', small, large, 'input'), row.stackingFromInput)
    t.deepEqual(sources('rand-init', small, large), row.randInitFromClassifier)
    t.deepEqual(sources('rand-init', small, large, 'input'), row.randInitFromInput)
  }
})

test("VOLO's sources in every table, each kind apart and both over the whole network", (t) => {
  t.is(more.voloOperators.length, 6)
  for (const { splitSmall, splitLarge, outlookers, transformers } of more.voloOperators) {
    t.deepEqual(sources('interpolation', splitSmall[0], splitLarge[0]), outlookers)
    t.deepEqual(sources('interpolation', splitSmall[1], splitLarge[1]), transformers)
    const whole = [...outlookers, ...transformers.map((layer) => layer + splitSmall[0])]
    for (const operator of ['interpolation', 'mogrow'] as const)
      t.deepEqual(
        growBlocks('outlookers', operator, splitSmall, splitLarge).map(({ source }) => source),
        whole,
      )
    const random = growBlocks('outlookers', 'rand-init', splitSmall, splitLarge)
    t.is(
      random.filter(({ source }) => source === null).length,
      outlookers.length + transformers.length - sum(splitSmall),
    )
  }
  for (const { small, large, splitSmall, splitLarge } of more.voloOperators)
    t.deepEqual([outlookerSplit(small), outlookerSplit(large)].map(Object.values), [splitSmall, splitLarge])
})

test('every layer of the small network has one place of its own, and the others are new', (t) => {
  for (const operator of operators)
    for (const from of ['classifier', 'input'] as const)
      for (let large = 1; large <= 20; large++)
        for (let small = 1; small <= large; small++) {
          const layers = grow(operator, small, large, from)
          t.is(layers.length, large)
          const own = ownLayers(layers)
          t.deepEqual(
            own.map((layer) => layers[layer]!.source),
            [...Array(small).keys()],
            `${operator} ${small} to ${large}`,
          )
          // New layers are random under RandInit, and copies otherwise.
          t.true(layers.every(({ source, added }) => (source === null) === (operator === 'rand-init' && added)))
        }
})

test('under Interpolation and MoGrow the own layers are those that smaller sub-networks run', (t) => {
  for (const { small, large } of growth.operators)
    for (const operator of ['interpolation', 'mogrow'] as const)
      t.deepEqual(ownLayers(grow(operator, small, large)), keptLayers(small, large))
})

test("a stage's first block stays, and the rest of it grows by itself", (t) => {
  const grown = growBlocks('stages', 'interpolation', [2, 1, 3], [4, 3, 3])
  t.deepEqual(
    grown.map(({ source }) => source),
    [0, 1, 1, 1, 2, null, null, 3, 4, 5],
  )
  t.deepEqual(ownLayers(grown), [0, 1, 4, 7, 8, 9])
  t.deepEqual(runningBlocks('stages', [2, 1, 3], [4, 3, 3], [2, 1, 3], ownLayers(grown)), [0, 1, 4, 7, 8, 9])
  t.deepEqual(runningBlocks('stages', [2, 1, 3], [4, 3, 3], [3, 2, 3], ownLayers(grown)), [0, 1, 3, 4, 6, 7, 8, 9])
})

test('growing to the same depth changes nothing', (t) => {
  for (const operator of operators)
    for (const from of ['classifier', 'input'] as const)
      t.deepEqual(
        grow(operator, 5, 5, from),
        [0, 1, 2, 3, 4].map((source) => ({ source, added: false })),
      )
})

test('MoGrow alone takes weights from the moving average, in either reading', (t) => {
  t.is(averagedLayers('mogrow', 'all'), 'all')
  t.is(averagedLayers('mogrow', 'new'), 'added')
  for (const operator of operators.slice(1))
    for (const reading of ['all', 'new'] as const) t.is(averagedLayers(operator, reading), 'none')
})

test('networks do not shrink', (t) => {
  for (const operator of operators)
    for (const [small, large] of [
      [5, 4],
      [0, 4],
      [1.5, 4],
      [2, Number.NaN],
    ] as const)
      t.throws(() => grow(operator, small, large), { code: 'CONFIG', message: /growing/ })
  t.throws(() => growBlocks('outlookers', 'mogrow', [2, 7], [4, 6]), { code: 'CONFIG' })
  t.throws(() => growBlocks('outlookers', 'mogrow', [9], [4, 14]), { code: 'CONFIG' })
})

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
