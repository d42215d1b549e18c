/** Random walks through AutoProg's stages: whatever wins a search, the next network holds it and all of its candidates. */
import { firstBlock, totalOf } from '../../lib/growth/layer-map.js'
import type { GrowthOperator } from '../../lib/growth/operators.js'
import { growBlocks, ownLayers } from '../../lib/growth/operators.js'
import type { Plan } from '../../lib/growth/schedules.js'
import { layersOf, openStage, planStages } from '../../lib/growth/schedules.js'
import type { Subnetwork } from '../../lib/growth/space.js'
import { fullNetworkOf } from '../../lib/growth/space.js'
import { createModel } from '../../lib/models/registry.js'
import { draw, Purpose, toInteger } from '../../lib/random.js'
import { test } from '../serial.js'

const models = ['deit_small_patch16_224', 'resnet50', ...[1, 2, 3, 4, 5].map((size) => `volo_d${size}_224`)]
const stageCounts = [3, 4, 5, 8, 50]
const ratios = [0.3, 0.4, 0.5, 0.75]
const operators: readonly GrowthOperator[] = ['mogrow', 'stacking', 'rand-init']
const seeds = [...Array(12).keys()]

/** What is wrong with one walk; undefined where every stage holds what it has to. */
function walk(plan: Plan, operator: GrowthOperator, seed: number): string | undefined {
  let held: Subnetwork | undefined
  for (const [index] of plan.stages.entries()) {
    const stage = openStage(plan, index, held)
    const where = `stage ${index + 1}, ${held?.blocks.join(' + ')} to ${stage.subnetwork.blocks.join(' + ')}`
    if (held) {
      const own = ownLayers(growBlocks(plan.kinds, operator, held.blocks, stage.subnetwork.blocks))
      if (own.length !== held.depth) return `${where}: ${own.length} of ${held.depth} layers are kept`
      const smallest = stage.candidates[0] ?? held
      if (smallest.depth === held.depth && String(smallest.blocks) !== String(held.blocks))
        return `${where}: the same depth is ${smallest.blocks.join(' + ')}`
    }
    let inner: readonly number[] = []
    const depths = new Map(stage.candidates.map(({ depth, blocks }) => [depth, blocks]))
    for (const blocks of depths.values()) {
      const layers = layersOf(stage, blocks, operator)
      const counts = blocks.map((_, kind) => {
        const from = firstBlock(stage.subnetwork.blocks, kind)
        return layers.filter((layer) => layer >= from && layer < from + stage.subnetwork.blocks[kind]!).length
      })
      if (String(counts) !== String(blocks)) return `${where}: ${counts} of ${blocks} run`
      if (!inner.every((layer) => layers.includes(layer))) return `${where}: ${layers} lack some of ${inner}`
      inner = layers
    }
    if (stage.candidates.length === 0) held = stage.subnetwork
    else held = stage.candidates[toInteger(draw(seed, Purpose.subnetwork, index, 0)[0], stage.candidates.length)]!
    if (totalOf(held.blocks) !== held.depth) return `${where}: ${held.blocks} are not ${held.depth} layers`
  }
  return String(held?.blocks) === String(plan.stages.at(-1)!.subnetwork!.blocks) ? undefined : 'it ends elsewhere'
}

test('5,040 walks reach the full network, each stage in the layers of the next', (t) => {
  let walks = 0
  for (const model of models) {
    const full = fullNetworkOf(createModel(model))
    for (const stages of stageCounts)
      for (const ratio of ratios) {
        const plan = planStages({ kind: 'autoprog', full, epochs: 100, stages, ratio })
        for (const operator of operators)
          for (const seed of seeds) {
            walks++
            const wrong = walk(plan, operator, seed)
            if (wrong !== undefined) t.fail(`${model}, ${stages} stages from ${ratio}, ${operator}: ${wrong}`)
          }
      }
  }
  t.is(walks, 5040)
})

test('sub-networks of one depth are one network, also where a schedule is made by hand', (t) => {
  for (const model of models.slice(2)) {
    const full = fullNetworkOf(createModel(model))
    for (const stages of [50, 100]) {
      const { stages: planned } = planStages({ kind: 'prog', full, epochs: 100, stages, ratio: 0.4 })
      for (const [index, { subnetwork }] of planned.entries()) {
        const before = planned[index - 1]?.subnetwork
        if (before?.depth === subnetwork!.depth) t.deepEqual(subnetwork!.blocks, before.blocks, `${model}, ${index}`)
      }
    }
  }
})
