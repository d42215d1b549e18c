import { keptLayers, runningLayers } from '../../lib/growth/layer-map.js'
import { grow } from '../../lib/growth/operators.js'
import type { Plan, ScheduleOptions } from '../../lib/growth/schedules.js'
import { layersOf, openStage, planStages, searchSteps, stageStarts } from '../../lib/growth/schedules.js'
import type { Subnetwork } from '../../lib/growth/space.js'
import { test } from '../serial.js'
import type { Schedule } from './tables.js'
import { fullOf, growth, layered, more } from './tables.js'

const full = layered(12, 224, 32)
const autoprog: ScheduleOptions = { kind: 'autoprog', full, epochs: 100, stages: 4, ratio: 0.5 }
const whole = { blocks: [12], depth: 12, resolution: 224, l: 1, n: 1 }

/** What the fixture's models round to, which the schedules' rows leave out. */
function optionsOf(row: Schedule): ScheduleOptions {
  const { multiple } = more.candidates.find(
    ({ depth, resolution }) => depth === row.depth && resolution === row.resolution,
  )!
  return {
    kind: row.scheme,
    full: fullOf({ ...row, multiple: row.model === 'volo' ? 16 : multiple }),
    epochs: row.epochs,
    stages: row.stageCount ?? 4,
    ratio: row.ratio ?? 0.5,
    subnetworks: row.scheme === 'fixed' ? row.stages : null,
  }
}

/** Opens all stages of a plan; `choose` says which candidate wins a search. */
function openAll(plan: Plan, choose: (candidates: readonly Subnetwork[]) => Subnetwork) {
  let previous: Subnetwork | undefined
  return plan.stages.map((_, index) => {
    const stage = openStage(plan, index, previous)
    previous = stage.searchSteps > 0 ? choose(stage.candidates) : stage.subnetwork
    return stage
  })
}

test('named schedules of every table, by epoch and by step', (t) => {
  t.is(more.schedules.length, 66)
  for (const row of more.schedules) {
    const stepsPerEpoch = 1251
    const plan = planStages({ ...optionsOf(row), stepsPerEpoch })
    t.is(plan.stages.length, row.stages.length)
    for (const [k, wanted] of row.stages.entries()) {
      const { start, first, end, subnetwork } = plan.stages[k]!
      const where = `${row.model} ${row.scheme}, stage ${k + 1}`
      t.deepEqual(
        [start, subnetwork!.depth, subnetwork!.resolution],
        [wanted.start, wanted.depth, wanted.resolution],
        where,
      )
      t.true(Math.abs(subnetwork!.l - wanted.l) < 1e-12 && Math.abs(subnetwork!.n - wanted.n) < 1e-12, where)
      t.deepEqual(
        [first, end],
        [wanted.start * stepsPerEpoch, (row.stages[k + 1]?.start ?? row.epochs) * stepsPerEpoch],
      )
    }
  }
})

test('starts of the stages of every table', (t) => {
  t.is(growth.stageStarts.length, 14)
  for (const { epochs, stages, starts } of growth.stageStarts) {
    t.deepEqual(stageStarts(epochs, Array<number>(stages).fill(1)), starts)
    const plan = planStages({ ...autoprog, epochs, stages, stepsPerEpoch: 10 })
    t.deepEqual(
      plan.stages.map(({ start }) => start),
      starts,
    )
  }
})

test('lengths are shares, and the cooldown belongs to the last stage', (t) => {
  const plan = planStages({ ...autoprog, lengths: [1, 1, 1, 2], stepsPerEpoch: 7, cooldownEpochs: 10 })
  t.deepEqual(
    plan.stages.map(({ first, end }) => [first / 7, end / 7]),
    [
      [0, 20],
      [20, 40],
      [40, 60],
      [60, 110],
    ],
  )
  t.is(plan.steps, 770)
  // In floating point 0.1 + 0.7 is less than 0.8 of the whole.
  t.deepEqual(stageStarts(10, [0.1, 0.7, 0.2]), [0, 1, 8])
})

test('stages shorter than an epoch begin at whole steps and fill the run', (t) => {
  for (const [epochs, stages, stepsPerEpoch] of [
    [20, 50, 468],
    [3, 4, 11],
    [1, 5, 5],
    [2, 3, 100],
  ] as const) {
    const plan = planStages({ ...autoprog, epochs, stages, stepsPerEpoch })
    let step = 0
    for (const { first, end, start } of plan.stages) {
      t.is(first, step)
      t.true(Number.isInteger(end) && end > first)
      t.is(Math.round(start * stepsPerEpoch), first)
      step = end
    }
    t.is(step, epochs * stepsPerEpoch)
  }
})

test('AutoProg searches every stage but the last, from what the stage before ended with', (t) => {
  const plan = planStages({ ...autoprog, epochs: 300, stepsPerEpoch: 1251 })
  const stages = openAll(plan, (candidates) => candidates[0]!)
  t.deepEqual(
    stages.map(({ candidates, subnetwork, smallest, searchSteps: steps }) => [
      candidates.length,
      subnetwork.depth,
      subnetwork.resolution,
      smallest,
      steps,
    ]),
    [
      [9, 12, 224, [6], 2502],
      [8, 12, 160, [6], 2502],
      [8, 12, 160, [6], 2502],
      [0, 12, 224, [12], 0],
    ],
  )
  const middle = openStage(plan, 1, { depth: 8, resolution: 192 })
  t.deepEqual(
    middle.candidates.map(({ depth, resolution }) => [depth, resolution]),
    [8, 10, 12].flatMap((depth) => [192, 224].map((resolution) => [depth, resolution])),
  )
})

test('where the full network has won, nothing is left to search', (t) => {
  const stages = openAll(planStages({ ...autoprog, stepsPerEpoch: 10 }), (candidates) => candidates.at(-1)!)
  t.deepEqual(
    stages.map(({ searchSteps: steps, candidates }) => [steps, candidates.length]),
    [
      [20, 9],
      [0, 1],
      [0, 1],
      [0, 0],
    ],
  )
  for (const { subnetwork } of stages) t.deepEqual(subnetwork, whole)
})

test('with 50 stages in 100 epochs only the last stage does more than search', (t) => {
  for (const ratio of [0.4, 0.5]) {
    const plan = planStages({ ...autoprog, stages: 50, ratio, stepsPerEpoch: 30 })
    for (const { first, end, searchSteps: steps, candidates } of openAll(plan, (list) => list[0]!).slice(0, -1)) {
      t.is(end - first, 60)
      t.is(steps, 60)
      t.true(candidates.length > 1)
    }
    t.deepEqual(plan.stages.at(-1)!.subnetwork, whole)
  }
})

test('a supernet draws in every step and has one stage', (t) => {
  const plan = planStages({ ...autoprog, kind: 'supernet', stepsPerEpoch: 30 })
  t.is(plan.stages.length, 1)
  const stage = openStage(plan, 0)
  t.is(stage.candidates.length, 9)
  t.is(stage.searchSteps, 3000)
  t.deepEqual([stage.subnetwork, stage.smallest], [whole, [6]])
})

test('schedules made by hand search nothing', (t) => {
  const fixed = {
    kind: 'fixed',
    subnetworks: [
      { l: 0.4, n: 0.6 },
      { l: 1, n: 1 },
    ],
  } as const
  for (const part of [{ kind: 'original' }, { kind: 'prog' }, { kind: 'progstack' }, fixed] as const)
    for (const { searchSteps: steps, candidates, smallest, subnetwork } of openAll(
      planStages({ ...autoprog, ...part }),
      () => t.fail('nothing to choose'),
    )) {
      t.deepEqual([steps, candidates], [0, []])
      t.deepEqual(smallest, subnetwork.blocks)
      const layers = layersOf({ index: 1, kinds: 'layers', smallest, subnetwork }, subnetwork.blocks)
      t.deepEqual(layers, [...Array(subnetwork.depth).keys()])
    }
})

test('lengths of searches', (t) => {
  const base = { stageSteps: 2000, stepsPerEpoch: 400, epochs: 20, candidates: 8, asked: 'auto' as const }
  t.is(searchSteps(base), 160) // 8% of the stage: 20 steps a candidate
  t.is(searchSteps({ ...base, stageSteps: 5000 }), 400)
  t.is(searchSteps({ ...base, stageSteps: 1000 }), 160)
  t.is(searchSteps({ ...base, stageSteps: 100 }), 100)
  t.is(searchSteps({ ...base, epochs: 100 }), 800)
  t.is(searchSteps({ ...base, epochs: 99 }), 160)
  t.is(searchSteps({ ...base, epochs: 100, stageSteps: 700 }), 700)
  t.is(searchSteps({ ...base, asked: 0.5 }), 200)
  t.is(searchSteps({ ...base, asked: 0.0001 }), 1)
  t.is(searchSteps({ ...base, asked: 9 }), 2000)
  t.is(searchSteps({ ...base, candidates: 1, asked: 1 }), 0)
  t.is(searchSteps({ ...base, candidates: 0 }), 0)
  for (const asked of [0, -1, Number.NaN]) t.throws(() => searchSteps({ ...base, asked }), { code: 'CONFIG' })
})

test('after a growth the smallest candidate runs the layers that it had', (t) => {
  const first = { index: 0, kinds: 'layers', smallest: [5], subnetwork: whole } as const
  const later = { ...first, index: 1 }
  for (const operator of ['mogrow', 'interpolation', 'stacking', 'rand-init'] as const) {
    const layers = grow(operator, 5, 12)
    t.deepEqual(
      layersOf(later, [5], operator).map((layer) => layers[layer]),
      [0, 1, 2, 3, 4].map((source) => ({ source, added: false })),
      operator,
    )
    t.deepEqual(layersOf(first, [5], operator), keptLayers(5, 12))
    t.deepEqual(layersOf(later, [12], operator), [...Array(12).keys()])
  }
  for (const { minimum, maximum, depth, active } of growth.elastic)
    t.deepEqual(
      layersOf({ ...later, smallest: [minimum], subnetwork: { ...whole, blocks: [maximum] } }, [depth]),
      active,
    )
})

test('a run of growths: each network holds the one before in its layers', (t) => {
  const plan = planStages({ ...autoprog, full: layered(18, 224, 32), ratio: 0.4, stages: 5, stepsPerEpoch: 50 })
  // Which original layer sits where: the winner's layers, followed from stage to stage.
  let held: (number | null)[] | undefined
  let previous: Subnetwork | undefined
  for (const index of plan.stages.keys()) {
    const stage = openStage(plan, index, previous)
    const { depth } = stage.subnetwork
    const before = held
    held = before
      ? grow('mogrow', before.length, depth).map(({ source, added }) => (added ? null : before[source!]!))
      : [...Array(depth).keys()]
    const winner = stage.candidates[1] ?? stage.subnetwork
    if (before && stage.candidates.length > 0)
      t.deepEqual(
        layersOf(stage, stage.smallest).map((layer) => held![layer]),
        before,
      )
    held = layersOf(stage, winner.blocks).map((layer) => held![layer]!)
    t.is(held.length, winner.depth)
    previous = winner
  }
  t.is(held!.length, 18)
})

test('plans that cannot be', (t) => {
  const refused = (part: Partial<ScheduleOptions>, message: RegExp) =>
    t.throws(() => planStages({ ...autoprog, ...part }), { code: 'CONFIG', message }, JSON.stringify(part))
  refused({ stages: 0 }, /number of stages/)
  refused({ ratio: 0 }, /initial ratio/)
  refused({ ratio: 0.03 }, /leaves none of the 12 layers/)
  refused({ epochs: 0 }, /positive integer for epochs/)
  refused({ epochs: 2.5 }, /epochs/)
  refused({ stepsPerEpoch: 0 }, /stepsPerEpoch/)
  refused({ cooldownEpochs: -1 }, /cooldownEpochs/)
  refused({ epochs: 3 }, /Stage 1 of 4 would have no epoch of the 3/)
  refused({ epochs: 1, stepsPerEpoch: 3 }, /Stage 1 of 4 would have no step of the 3/)
  refused({ lengths: [1, 2, 3] }, /4 positive lengths/)
  refused({ lengths: [1, 2, 0, 3] }, /4 positive lengths/)
  refused({ lengths: [1, 2, Number.POSITIVE_INFINITY, 3] }, /4 positive lengths/)
  refused({ full: { ...full, resolution: 200 } }, /multiple of 32/)
  refused({ kind: 'fixed' }, /list of \{ l, n \}/)
  refused({ kind: 'fixed', subnetworks: [] }, /list of \{ l, n \}/)
  refused({ kind: 'fixed', subnetworks: [{ l: 1.2, n: 1 }] }, /layers l .* 1\.2/)
  refused({ kind: 'progstack', full: layered(1, 224, 32) }, /leaves none of the 1 layers/)
  const plan = planStages(autoprog)
  for (const index of [-1, 4, 0.5]) t.throws(() => openStage(plan, index), { code: 'CONFIG' })
  t.throws(() => openStage(plan, 1), { code: 'CONFIG', message: /stage 1 ended with/ })
  t.throws(() => layersOf({ index: 1, kinds: 'layers', smallest: [5], subnetwork: whole }, [4]), {
    code: 'CONFIG',
  })
  t.deepEqual(runningLayers(12, 12, 12), [...Array(12).keys()])
})
