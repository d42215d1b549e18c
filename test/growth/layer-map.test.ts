import {
  firstBlock,
  interpolationMap,
  keptLayers,
  nestedSplit,
  outlookerSplit,
  runningBlocks,
  runningLayers,
  stageBlocks,
} from '../../lib/growth/layer-map.js'
import { growthSpace } from '../../lib/growth/space.js'
import { test } from '../serial.js'
import { growth, more } from './tables.js'

const splitOf = (depth: number): [number, number] => {
  const { outlookers, transformers } = outlookerSplit(depth)
  return [outlookers, transformers]
}

test('running layers of every table', (t) => {
  t.is(growth.elastic.length, 99)
  for (const { minimum, maximum, depth, active } of growth.elastic)
    t.deepEqual(runningLayers(minimum, maximum, depth), active, `${depth} of ${minimum} to ${maximum}`)
})

test('interpolation maps of every table', (t) => {
  for (const { small, large, interpolation } of growth.operators)
    t.deepEqual(interpolationMap(small, large), interpolation)
})

test('sub-networks of any sizes are nested, from the smallest to the whole', (t) => {
  for (let largest = 1; largest <= 24; largest++)
    for (let smallest = 1; smallest <= largest; smallest++) {
      const kept = keptLayers(smallest, largest)
      // The kept layers hold every source once, in order.
      t.deepEqual(
        kept.map((layer) => interpolationMap(smallest, largest)[layer]),
        kept.map((_, layer) => layer),
      )
      let inner: number[] = []
      for (let depth = smallest; depth <= largest; depth++) {
        const layers = runningLayers(smallest, largest, depth)
        t.is(layers.length, depth)
        t.true(layers.every((layer, index) => index === 0 || layer > layers[index - 1]!))
        t.true(inner.every((layer) => layers.includes(layer)))
        inner = layers
      }
      t.deepEqual(runningLayers(smallest, largest, smallest), kept)
      t.deepEqual(inner, [...Array(largest).keys()])
    }
})

test('layers kept elsewhere run in every sub-network', (t) => {
  t.deepEqual(runningLayers(2, 5, 2, [3, 4]), [3, 4])
  t.deepEqual(runningLayers(2, 5, 3, [3, 4]), [2, 3, 4])
  t.deepEqual(runningLayers(2, 5, 4, [0, 1]), [0, 1, 3, 4])
})

test("VOLO's outlookers of every depth", (t) => {
  t.is(growth.outlookers.length, 40)
  for (const { depth, split } of growth.outlookers) t.deepEqual(splitOf(depth), split, `depth ${depth}`)
})

test('of deep VOLOs 23 % of the layers, rounded to an even number, are outlookers', (t) => {
  const outlookers = (depth: number) => splitOf(depth)[0]
  t.deepEqual([56, 57, 58].map(outlookers), [12, 14, 14]) // 0.23 * 57 = 13.11
  t.deepEqual([65, 66, 67].map(outlookers), [14, 16, 16])
  t.deepEqual([73, 74, 75, 76, 77].map(outlookers), [16, 18, 18, 18, 18])
})

test("VOLO's running layers of every table, each kind apart and both over the whole network", (t) => {
  t.is(more.voloElastic.length, 60)
  for (const row of more.voloElastic) {
    const [smallest, largest] = [splitOf(row.smallest), splitOf(row.largest)]
    t.deepEqual(nestedSplit(row.depth, smallest, largest), row.split)
    t.deepEqual(runningLayers(smallest[0], largest[0], row.split[0]), row.outlookers)
    t.deepEqual(runningLayers(smallest[1], largest[1], row.split[1]), row.transformers)
    t.is(firstBlock(largest, 1), largest[0])
    const whole = [...row.outlookers, ...row.transformers.map((layer) => layer + largest[0])]
    t.deepEqual(runningBlocks('outlookers', smallest, largest, row.split), whole)
  }
})

test('a depth that cannot be nested keeps the smaller number of outlookers', (t) => {
  t.true(more.nonMonotone.length > 0)
  for (const row of more.nonMonotone) {
    t.deepEqual(splitOf(row.depth), row.split)
    t.throws(() => runningBlocks('outlookers', row.splitSmallest, row.splitLargest, row.split), { code: 'CONFIG' })
    const split = nestedSplit(row.depth, row.splitSmallest, row.splitLargest)
    t.deepEqual(split, [row.splitSmallest[0], row.depth - row.splitSmallest[0]])
    t.is(runningBlocks('outlookers', row.splitSmallest, row.splitLargest, split).length, row.depth)
  }
})

test('a VOLO grows layer by layer to any depth, each network nested in the next', (t) => {
  for (const [first, last] of [
    [9, 18],
    [12, 24],
    [7, 18],
    [3, 48],
  ] as const) {
    let held: readonly [number, number] = splitOf(first)
    for (let depth = first + 1; depth <= last; depth++) {
      const next = nestedSplit(depth, held, splitOf(last))
      t.is(next[0] + next[1], depth)
      t.true(next[0] >= held[0] && next[1] >= held[1], `${held} to ${next}`)
      held = next
    }
    t.deepEqual(held, splitOf(last))
  }
})

test("ResNet's blocks of every table, and what runs of them", (t) => {
  t.is(more.resnetCandidates.length, 6)
  for (const { blocks, stages, ratio, blocksPerStage, resolutions } of more.resnetCandidates) {
    const space = growthSpace({ kinds: 'stages', blocks, resolution: 224, multiple: 32 }, stages, ratio)
    t.deepEqual(
      space.ratios.map((l) => stageBlocks(l, blocks)),
      blocksPerStage,
    )
    t.deepEqual(space.blocks, blocksPerStage)
    t.deepEqual(space.resolutions, resolutions)
    for (const part of blocksPerStage) {
      const running = runningBlocks('stages', blocksPerStage[0]!, blocks, part)
      t.is(
        running.length,
        part.reduce((sum, count) => sum + count, 0),
      )
      for (const stage of blocks.keys()) t.true(running.includes(firstBlock(blocks, stage)))
    }
  }
  t.deepEqual(stageBlocks(0.01, [3, 4]), [1, 1])
})

test('depths that do not nest', (t) => {
  for (const [smallest, largest, depth] of [
    [2, 5, 1],
    [2, 5, 6],
    [0, 5, 0],
    [2, 5, 2.5],
    [6, 5, 5],
  ] as const)
    t.throws(() => runningLayers(smallest, largest, depth), { code: 'CONFIG' }, `${smallest} ${largest} ${depth}`)
  for (const [small, large] of [
    [0, 5],
    [6, 5],
    [1.5, 5],
    [2, 5.5],
    [1, Number.NaN],
  ] as const)
    t.throws(() => interpolationMap(small, large), { code: 'CONFIG' }, `${small} to ${large}`)
  t.throws(() => runningBlocks('outlookers', [1], [2, 2], [1, 1]), { code: 'CONFIG' })
  t.throws(() => runningBlocks('outlookers', [1, 1], [2, 2], [1, 1, 1]), { code: 'CONFIG' })
  t.throws(() => runningBlocks('outlookers', [], [], []), { code: 'CONFIG' })
  t.throws(() => nestedSplit(10, [4, 4], [2, 10]), { code: 'CONFIG' })
  t.throws(() => nestedSplit(20, [2, 7], [4, 14]), { code: 'CONFIG' })
})
