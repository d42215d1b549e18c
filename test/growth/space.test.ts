import { roundToMultiple } from '../../lib/growth/rounding.js'
import { blocksOfDepth, growthSpace, searchSpace, subnetworkOf } from '../../lib/growth/space.js'
import { test } from '../serial.js'
import { candidates, fullOf, growth, layered } from './tables.js'

const full = layered(12, 224, 32)
const sizes = (list: readonly { depth: number; resolution: number }[]) =>
  list.map(({ depth, resolution }) => [depth, resolution])

test('candidates of every table', (t) => {
  t.is(candidates.length, 104)
  for (const row of candidates) {
    const space = growthSpace(fullOf(row), row.stages, row.ratio)
    t.deepEqual([space.depths, space.resolutions], [row.depths, row.resolutions], JSON.stringify(row))
    t.is(space.ratios[0], row.ratio)
    t.is(space.ratios.at(-1), 1)
  }
})

test('search spaces of every table', (t) => {
  t.is(growth.space.length, 582)
  for (const row of growth.space) {
    const space = {
      ratios: row.depths.map((_, k) => (k + 1) / row.depths.length),
      depths: row.depths,
      blocks: row.depths.map((depth) => [depth]),
      resolutions: row.resolutions,
    }
    const current =
      row.currentDepth === undefined ? undefined : { depth: row.currentDepth, resolution: row.currentResolution! }
    const wanted = row.spaceDepths.flatMap((depth) => row.spaceResolutions.map((resolution) => [depth, resolution]))
    t.deepEqual(sizes(searchSpace(space, row.stage, current)), wanted, JSON.stringify(row))
  }
})

test('sizes that several ratios round to count once: the tables hold the first stage of each of their spaces', (t) => {
  let compared = 0
  for (const row of candidates) {
    const distinct = { depths: [...new Set(row.depths)], resolutions: [...new Set(row.resolutions)] }
    const table = growth.space.find(
      ({ stage, depths, resolutions }) =>
        stage === 1 &&
        String(depths) === String(distinct.depths) &&
        String(resolutions) === String(distinct.resolutions),
    )
    if (!table) continue
    compared++
    const wanted = table.spaceDepths.flatMap((depth) => table.spaceResolutions.map((each) => [depth, each]))
    t.deepEqual(sizes(searchSpace(growthSpace(fullOf(row), row.stages, row.ratio), 1)), wanted, JSON.stringify(row))
  }
  t.true(compared > 50, `only ${compared} spaces compared`)
})

test('any space searched has at most 9 candidates, the first the smallest and the last the largest', (t) => {
  for (const row of candidates) {
    const space = growthSpace(fullOf(row), row.stages, row.ratio)
    let current = { depth: row.depths[0]!, resolution: row.resolutions[0]! }
    for (let stage = 1; stage <= row.stages; stage++) {
      const list = searchSpace(space, stage, current)
      t.true(list.length >= 1 && list.length <= 9)
      const depths = list.map(({ depth }) => depth)
      const resolutions = list.map(({ resolution }) => resolution)
      t.deepEqual(sizes([list[0]!]), [[Math.min(...depths), Math.min(...resolutions)]])
      t.deepEqual(sizes([list.at(-1)!]), [[Math.max(...depths), Math.max(...resolutions)]])
      if (stage > 1) t.deepEqual(sizes([list[0]!]), sizes([current]))
      current = list[Math.floor(list.length / 2)]!
    }
  }
})

test('the ratios of a candidate give it again, as a fixed schedule needs them', (t) => {
  for (const row of candidates)
    for (const candidate of searchSpace(growthSpace(fullOf(row), row.stages, row.ratio), 1)) {
      const { blocks: _, ...sizes } = subnetworkOf(fullOf(row), candidate.l, candidate.n)
      const { blocks: __, ...wanted } = candidate
      t.deepEqual(sizes, wanted)
      t.is(candidate.l === 1, candidate.depth === row.depth)
      t.is(candidate.n === 1, candidate.resolution === row.resolution)
    }
})

test('rounding goes to the nearest, but not far below the value', (t) => {
  t.is(roundToMultiple(134.4, 32), 128)
  t.is(roundToMultiple(144, 32), 160)
  t.is(roundToMultiple(5, 32), 32)
  t.is(roundToMultiple(2.4, 1), 3) // 2 is below 0.9 * 2.4
})

test('one stage is the full network, whatever the ratio', (t) => {
  const space = growthSpace(full, 1, 0.4)
  t.deepEqual(searchSpace(space, 1), [{ blocks: [12], depth: 12, resolution: 224, l: 1, n: 1 }])
})

test('a VOLO of any split has nested sub-networks of any depth', (t) => {
  const splits = [
    [2, 16],
    [8, 10],
    [4, 6],
    [1, 5],
  ]
  for (const blocks of splits) {
    const volo = { kinds: 'outlookers', blocks, resolution: 224, multiple: 32 } as const
    for (const ratio of [0.4, 0.9]) {
      const space = growthSpace(volo, 9, ratio)
      for (const [index, [outlookers, transformers]] of space.blocks.entries()) {
        const next = space.blocks[index + 1] ?? blocks
        t.true(outlookers! <= next[0]! && transformers! <= next[1]!, `${space.blocks[index]} in ${next}`)
      }
      t.deepEqual(space.blocks.at(-1), blocks)
    }
  }
})

test('bad spaces', (t) => {
  const refused = (action: () => unknown, message: RegExp) => t.throws(action, { code: 'CONFIG', message })
  for (const stages of [0, -1, 2.5, Number.NaN]) refused(() => growthSpace(full, stages, 0.5), /number of stages/)
  for (const ratio of [0, -0.5, 1.01, Number.NaN]) {
    refused(() => growthSpace(full, 4, ratio), /initial ratio/)
    refused(() => subnetworkOf(full, ratio, 1), /layers l/)
    refused(() => subnetworkOf(full, 1, ratio), /resolution n/)
  }
  refused(() => subnetworkOf(full, 0.04, 1), /0\.04 leaves none of the 12 layers/)
  refused(() => growthSpace(full, 4, 0.04), /leaves none/)
  t.is(subnetworkOf(full, 0.042, 1).depth, 1)
  refused(() => blocksOfDepth({ ...full, kinds: 'outlookers', blocks: [4, 14] }, 1), /an outlooker and a transformer/)
  refused(() => growthSpace({ ...full, resolution: 225 }, 4, 0.5), /multiple of 32 pixels .* received 225/)
  for (const wrong of [0, 1.5, Number.NaN])
    for (const [key, value] of Object.entries({
      depth: { blocks: [wrong] },
      resolution: { resolution: wrong },
      multiple: { multiple: wrong },
    }))
      refused(() => growthSpace({ ...full, ...value }, 4, 0.5), new RegExp(`full network's ${key}`))
  refused(() => searchSpace(growthSpace(full, 4, 0.5), 2), /what stage 1 ended with/)
})

test('a stage that has to rise takes the next resolution, and the full one for good', (t) => {
  const space = growthSpace(layered(8, 56, 8), 4, 0.5)
  const at = (resolution: number) => sizes(searchSpace(space, 2, { depth: 7, resolution }, 'rising'))
  t.deepEqual(at(32), [
    [7, 40],
    [8, 40],
  ])
  t.deepEqual(at(56), [
    [7, 56],
    [8, 56],
  ])
  t.deepEqual(searchSpace(space, 1, undefined, 'rising'), searchSpace(space, 1))
})

test('scheduled stages take one resolution after the other, and search the depth alone', (t) => {
  const space = growthSpace(layered(8, 56, 8), 4, 0.5)
  const resolutionsOf = (stage: number, resolution: number) =>
    searchSpace(space, stage, { depth: 7, resolution }, 'scheduled').map((candidate) => candidate.resolution)
  t.deepEqual(sizes(searchSpace(space, 1, undefined, 'scheduled')), [
    [4, space.resolutions[0]],
    [7, space.resolutions[0]],
    [8, space.resolutions[0]],
  ])
  t.deepEqual(resolutionsOf(2, space.resolutions[0]!), [space.resolutions[1], space.resolutions[1]])
  t.deepEqual(resolutionsOf(4, space.resolutions[2]!), [56, 56])
})
