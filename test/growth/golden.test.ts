import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { interpolationMap, outlookerSplit, runningLayers } from '../../lib/growth/layer-map.js'
import { scoreCandidates } from '../../lib/growth/objective.js'
import { grow } from '../../lib/growth/operators.js'
import { adaptivePresets, adaptiveValue } from '../../lib/growth/regularization.js'
import type { ScheduleKind } from '../../lib/growth/schedules.js'
import { planStages, stageStarts } from '../../lib/growth/schedules.js'
import { growthSpace, searchSpace } from '../../lib/growth/space.js'
import { learningRateAt } from '../../lib/training/learning-rate.js'
import { assertClose, goldenJson } from '../golden.js'

interface Growth {
  candidates: {
    depth: number
    resolution: number
    multiple: number
    stages: number
    ratio: number
    depths: number[]
    resolutions: number[]
  }[]
  space: {
    stage: number
    depths: number[]
    resolutions: number[]
    currentDepth?: number
    currentResolution?: number
    spaceDepths: number[]
    spaceResolutions: number[]
  }[]
  elastic: { minimum: number; maximum: number; depth: number; active: number[] }[]
  operators: (Record<
    'interpolation' | 'stackingFromClassifier' | 'stackingFromInput' | 'randInitFromClassifier' | 'randInitFromInput',
    (number | null)[]
  > & { small: number; large: number })[]
  outlookers: { depth: number; split: [number, number] }[]
  adaptive: { preset: 'd0' | 'd1'; stages: number; magnitude: number[]; erasing: number[]; stochasticDepth: number[] }[]
}
interface GrowthMore {
  candidates: Growth['candidates']
  schedules: {
    model: string
    depth: number
    resolution: number
    epochs: number
    scheme: ScheduleKind
    stageCount?: number
    ratio?: number
    stages: { start: number; depth: number; resolution: number; l: number; n: number }[]
  }[]
}

const golden = await goldenJson<Growth>('growth')
const more = await goldenJson<GrowthMore>('growth_more')

describe('growth tables', () => {
  test('candidates', () => {
    for (const row of [...golden.candidates, ...more.candidates]) {
      const space = growthSpace(row, row.stages, row.ratio)
      assert.deepEqual([space.depths, space.resolutions], [row.depths, row.resolutions], JSON.stringify(row))
    }
  })

  test('growth spaces of all stages', () => {
    for (const row of golden.space) {
      const space = {
        ratios: row.depths.map((_, k) => (k + 1) / row.depths.length),
        depths: row.depths,
        resolutions: row.resolutions,
      }
      const current =
        row.currentDepth === undefined ? undefined : { depth: row.currentDepth, resolution: row.currentResolution! }
      const candidates = searchSpace(space, row.stage, current)
      const wanted = row.spaceDepths.flatMap((depth) => row.spaceResolutions.map((resolution) => [depth, resolution]))
      assert.deepEqual(
        candidates.map(({ depth, resolution }) => [depth, resolution]),
        wanted,
        JSON.stringify(row),
      )
    }
  })

  test('layers that sub-networks run', () => {
    for (const { minimum, maximum, depth, active } of golden.elastic)
      assert.deepEqual(runningLayers(minimum, maximum, depth), active)
  })

  test('sources of every growth operator', () => {
    for (const { small, large, ...wanted } of golden.operators) {
      const sources = (...args: Parameters<typeof grow>) => grow(...args).map(({ source }) => source)
      assert.deepEqual(sources('interpolation', small, large), wanted.interpolation)
      assert.deepEqual(sources('mogrow', small, large), wanted.interpolation)
      assert.deepEqual(sources('stacking', small, large), wanted.stackingFromClassifier)
      assert.deepEqual(sources('stacking', small, large, 'input'), wanted.stackingFromInput)
      assert.deepEqual(sources('rand-init', small, large), wanted.randInitFromClassifier)
      assert.deepEqual(sources('rand-init', small, large, 'input'), wanted.randInitFromInput)
      for (const operator of ['mogrow', 'interpolation', 'stacking', 'rand-init'] as const)
        assert.equal(grow(operator, small, large).filter(({ added }) => added).length, large - small, operator)
    }
  })

  test("VOLO's outlookers, and its maps stage by stage", async () => {
    for (const { depth, split } of golden.outlookers)
      assert.deepEqual(Object.values(outlookerSplit(depth)), split, `depth ${depth}`)
    const volo = await goldenJson<{
      voloElastic: {
        split: [number, number]
        smallest: number
        largest: number
        depth: number
        outlookers: number[]
        transformers: number[]
      }[]
      voloOperators: {
        splitSmall: [number, number]
        splitLarge: [number, number]
        outlookers: number[]
        transformers: number[]
      }[]
    }>('growth_more')
    for (const { splitSmall, splitLarge, outlookers, transformers } of volo.voloOperators) {
      assert.deepEqual(interpolationMap(splitSmall[0], splitLarge[0]), outlookers)
      assert.deepEqual(interpolationMap(splitSmall[1], splitLarge[1]), transformers)
    }
    for (const row of volo.voloElastic) {
      const [smallest, largest] = [outlookerSplit(row.smallest), outlookerSplit(row.largest)]
      assert.deepEqual(runningLayers(smallest.outlookers, largest.outlookers, row.split[0]), row.outlookers)
      assert.deepEqual(runningLayers(smallest.transformers, largest.transformers, row.split[1]), row.transformers)
    }
  })

  test('adaptive regularisation', () => {
    for (const { preset, stages, ...wanted } of golden.adaptive)
      for (const key of ['magnitude', 'erasing', 'stochasticDepth'] as const)
        for (const [stage, value] of wanted[key].entries())
          assert.ok(Math.abs(adaptiveValue(adaptivePresets[preset][key], stage, stages) - value) < 1e-12)
  })

  test('starts of stages', async () => {
    const { stageStarts: rows } = await goldenJson<{
      stageStarts: { epochs: number; stages: number; starts: number[] }[]
    }>('growth')
    for (const { epochs, stages, starts } of rows)
      assert.deepEqual(stageStarts(epochs, Array<number>(stages).fill(1)), starts)
  })

  test('named schedules', () => {
    const multiples: Record<string, number> = { deit: 32, volo_d1: 32, volo_d2: 32, volo: 16 }
    for (const row of more.schedules) {
      const plan = planStages({
        kind: row.scheme,
        full: { depth: row.depth, resolution: row.resolution, multiple: multiples[row.model]! },
        epochs: row.epochs,
        stages: row.stageCount ?? row.stages.length,
        ratio: row.ratio ?? 0.5,
        subnetworks: row.stages,
      })
      const close = (value: number) => Number(value.toFixed(12))
      assert.deepEqual(
        plan.stages.map(({ start, subnetwork }) => ({
          start,
          ...subnetwork,
          l: close(subnetwork!.l),
          n: close(subnetwork!.n),
        })),
        row.stages.map((stage) => ({ ...stage, l: close(stage.l), n: close(stage.n) })),
        JSON.stringify(row).slice(0, 120),
      )
    }
  })

  test('search objective', async () => {
    const { rows } = await goldenJson<{
      rows: { times: number[]; losses: number[]; a1: number; a2: number; w: number; scores: number[]; winner: number }[]
    }>('search_objective')
    for (const row of rows) {
      const objective = scoreCandidates(row.losses, row.times)
      assertClose([objective.a1, objective.a2, objective.exponent], [row.a1, row.a2, row.w], 1e-5, 'fit')
      assertClose(objective.scores, row.scores, 1e-5, 'scores')
      assert.equal(objective.best, row.winner)
    }
  })

  test('learning rates of every epoch', async () => {
    for (const name of ['schedule', 'schedule_more']) {
      type Row = {
        epochs: number
        warmupEpochs: number
        peak: number
        floor: number
        warmupFrom: number
        learningRatePerEpoch: number[]
      }
      const { rows } = await goldenJson<{ rows: Row[] }>(name)
      for (const row of rows) {
        const schedule = {
          peak: row.peak,
          epochs: row.epochs,
          minimum: row.floor,
          warmupEpochs: row.warmupEpochs,
          warmupStart: row.warmupFrom,
        }
        for (const [epoch, wanted] of row.learningRatePerEpoch.entries()) {
          const rate = learningRateAt(schedule, epoch)
          assert.ok(
            Math.abs(rate - wanted) <= 1e-12 * wanted + 1e-18,
            `${name} epoch ${epoch}: ${rate} instead of ${wanted}`,
          )
        }
      }
    }
  })
})
