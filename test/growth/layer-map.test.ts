import assert from 'node:assert/strict'
import { test } from 'node:test'
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
import { growth, more } from './tables.js'

const splitOf = (depth: number): [number, number] => {
  const { outlookers, transformers } = outlookerSplit(depth)
  return [outlookers, transformers]
}

test('running layers of every table', () => {
  assert.equal(growth.elastic.length, 99)
  for (const { minimum, maximum, depth, active } of growth.elastic)
    assert.deepEqual(runningLayers(minimum, maximum, depth), active, `${depth} of ${minimum} to ${maximum}`)
})

test('interpolation maps of every table', () => {
  for (const { small, large, interpolation } of growth.operators)
    assert.deepEqual(interpolationMap(small, large), interpolation)
})

test('sub-networks of any sizes are nested, from the smallest to the whole', () => {
  for (let largest = 1; largest <= 24; largest++)
    for (let smallest = 1; smallest <= largest; smallest++) {
      const kept = keptLayers(smallest, largest)
      // The kept layers hold every source once, in order.
      assert.deepEqual(
        kept.map((layer) => interpolationMap(smallest, largest)[layer]),
        kept.map((_, layer) => layer),
      )
      let inner: number[] = []
      for (let depth = smallest; depth <= largest; depth++) {
        const layers = runningLayers(smallest, largest, depth)
        assert.equal(layers.length, depth)
        assert.ok(layers.every((layer, index) => index === 0 || layer > layers[index - 1]!))
        assert.ok(inner.every((layer) => layers.includes(layer)))
        inner = layers
      }
      assert.deepEqual(runningLayers(smallest, largest, smallest), kept)
      assert.deepEqual(inner, [...Array(largest).keys()])
    }
})

test('layers kept elsewhere run in every sub-network', () => {
  assert.deepEqual(runningLayers(2, 5, 2, [3, 4]), [3, 4])
  assert.deepEqual(runningLayers(2, 5, 3, [3, 4]), [2, 3, 4])
  assert.deepEqual(runningLayers(2, 5, 4, [0, 1]), [0, 1, 3, 4])
})

test("VOLO's outlookers of every depth", () => {
  assert.equal(growth.outlookers.length, 40)
  for (const { depth, split } of growth.outlookers) assert.deepEqual(splitOf(depth), split, `depth ${depth}`)
})

test("VOLO's running layers of every table, each kind apart and both over the whole network", () => {
  assert.equal(more.voloElastic.length, 60)
  for (const row of more.voloElastic) {
    const [smallest, largest] = [splitOf(row.smallest), splitOf(row.largest)]
    assert.deepEqual(nestedSplit(row.depth, smallest, largest), row.split)
    assert.deepEqual(runningLayers(smallest[0], largest[0], row.split[0]), row.outlookers)
    assert.deepEqual(runningLayers(smallest[1], largest[1], row.split[1]), row.transformers)
    assert.equal(firstBlock(largest, 1), largest[0])
    const whole = [...row.outlookers, ...row.transformers.map((layer) => layer + largest[0])]
    assert.deepEqual(runningBlocks('outlookers', smallest, largest, row.split), whole)
  }
})

test('a depth that cannot be nested keeps the smaller number of outlookers', () => {
  assert.ok(more.nonMonotone.length > 0)
  for (const row of more.nonMonotone) {
    assert.deepEqual(splitOf(row.depth), row.split)
    assert.throws(() => runningBlocks('outlookers', row.splitSmallest, row.splitLargest, row.split), { code: 'CONFIG' })
    const split = nestedSplit(row.depth, row.splitSmallest, row.splitLargest)
    assert.deepEqual(split, [row.splitSmallest[0], row.depth - row.splitSmallest[0]])
    assert.equal(runningBlocks('outlookers', row.splitSmallest, row.splitLargest, split).length, row.depth)
  }
})

test('a VOLO grows layer by layer to any depth, each network nested in the next', () => {
  for (const [first, last] of [
    [9, 18],
    [12, 24],
    [7, 18],
    [3, 48],
  ] as const) {
    let held: readonly [number, number] = splitOf(first)
    for (let depth = first + 1; depth <= last; depth++) {
      const next = nestedSplit(depth, held, splitOf(last))
      assert.equal(next[0] + next[1], depth)
      assert.ok(next[0] >= held[0] && next[1] >= held[1], `${held} to ${next}`)
      held = next
    }
    assert.deepEqual(held, splitOf(last))
  }
})

test("ResNet's blocks of every table, and what runs of them", () => {
  assert.equal(more.resnetCandidates.length, 6)
  for (const { blocks, stages, ratio, blocksPerStage, resolutions } of more.resnetCandidates) {
    const space = growthSpace({ kinds: 'stages', blocks, resolution: 224, multiple: 32 }, stages, ratio)
    assert.deepEqual(
      space.ratios.map((l) => stageBlocks(l, blocks)),
      blocksPerStage,
    )
    assert.deepEqual(space.blocks, blocksPerStage)
    assert.deepEqual(space.resolutions, resolutions)
    for (const part of blocksPerStage) {
      const running = runningBlocks('stages', blocksPerStage[0]!, blocks, part)
      assert.equal(
        running.length,
        part.reduce((sum, count) => sum + count, 0),
      )
      for (const stage of blocks.keys()) assert.ok(running.includes(firstBlock(blocks, stage)))
    }
  }
  assert.deepEqual(stageBlocks(0.01, [3, 4]), [1, 1])
})

test('depths that do not nest', () => {
  for (const [smallest, largest, depth] of [
    [2, 5, 1],
    [2, 5, 6],
    [0, 5, 0],
    [2, 5, 2.5],
    [6, 5, 5],
  ] as const)
    assert.throws(() => runningLayers(smallest, largest, depth), { code: 'CONFIG' }, `${smallest} ${largest} ${depth}`)
  for (const [small, large] of [
    [0, 5],
    [6, 5],
    [1.5, 5],
    [2, 5.5],
    [1, Number.NaN],
  ] as const)
    assert.throws(() => interpolationMap(small, large), { code: 'CONFIG' }, `${small} to ${large}`)
  assert.throws(() => runningBlocks('outlookers', [1], [2, 2], [1, 1]), { code: 'CONFIG' })
  assert.throws(() => runningBlocks('outlookers', [1, 1], [2, 2], [1, 1, 1]), { code: 'CONFIG' })
  assert.throws(() => runningBlocks('outlookers', [], [], []), { code: 'CONFIG' })
  assert.throws(() => nestedSplit(10, [4, 4], [2, 10]), { code: 'CONFIG' })
  assert.throws(() => nestedSplit(20, [2, 7], [4, 14]), { code: 'CONFIG' })
})
