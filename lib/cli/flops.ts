/** `autoprog flops`: forward multiply-adds of a model, of a sub-network, or of a whole schedule. */
import { type Command, InvalidArgumentError } from 'commander'
import { blocksOfDepth, fullNetworkOf, subnetworkOf } from '../growth/space.js'
import type { Model } from '../models/model.js'
import { wrap } from '../report/fit.js'
import { gain, integer, plural, scaled, times } from '../report/format.js'
import { table } from '../report/table.js'
import { lookOf } from '../report/terminal.js'
import { type CommonOptions, createCommand, parseNumber, parseNumbers, printResult } from './command.js'

interface Stage {
  readonly l: number
  readonly n: number
}

interface FlopsOptions extends CommonOptions {
  resolution?: number
  depth?: number
  schedule?: Stage[]
}

const example = `autoprog flops deit_small_patch16_224 --resolution 160 --depth 6
autoprog flops deit_small_patch16_224 --schedule 0.4,0.7,1/0.4,0.7,1`

export function flopsCommand(): Command {
  return createCommand('flops', 'forward multiply-adds and parameters of a model', example)
    .argument('<model>', 'model name')
    .option('--resolution <pixels>', 'image size (default: the full one)', parseNumber)
    .option('--depth <layers>', 'layers that run (default: all)', parseNumber)
    .option('--schedule <l,…/n,…>', 'ratios of layers and of resolution, one a stage of equal length', parseSchedule)
    .action(flops)
}

function parseSchedule(text: string): Stage[] {
  const [ls, ns, ...more] = text.split('/').map(parseNumbers)
  if (ls === undefined || ns === undefined || more.length > 0 || ls.length !== ns.length) {
    throw new InvalidArgumentError('Expected as many ratios of layers as of resolution: l1,l2,…/n1,n2,…')
  }
  return ls.map((l, stage) => ({ l, n: ns[stage]! }))
}

async function flops(name: string, options: FlopsOptions): Promise<void> {
  const { createModel } = await import('../models/registry.js')
  const model = createModel(name)
  const { depth = model.depth, resolution = model.imageSize } = options
  const blocks = blocksOfDepth(fullNetworkOf(model), depth)
  const cost = model.flops({ blocks, resolution })
  const parameters = model.parameterCount(blocks)
  const document = { model: name, depth, resolution, flops: cost, parameters }
  const look = lookOf(process.stdout)
  const text = wrap(
    `${name}, ${plural(depth, 'layer')}, ${resolution} px: ${scaled(cost)} multiply-adds an image, forward; ${integer(parameters)} parameters`,
    look.width,
  )
  if (options.schedule === undefined) return printResult(options, document, text)
  const schedule = scheduleCost(model, options.schedule)
  const rows = schedule.stages.map((stage, index) => [
    `${index + 1}`,
    `${stage.depth}`,
    `${stage.resolution}`,
    scaled(stage.flops),
  ])
  const drawn = table(['stage', 'layers', 'pixels', 'MACs'], rows, 0, look)
  const average = `average of stages of equal length, without searches and cooldown: ${scaled(schedule.average)}; theoretical speed-up ${times(schedule.speedup)} (${gain(schedule.speedup)})`
  printResult(options, { ...document, schedule }, `${text}\n${drawn}\n${wrap(average, look.width)}`)
}

/** Forward multiply-adds per image of every stage, their mean, and the full network's against it. */
export function scheduleCost(model: Model, schedule: readonly Stage[]) {
  const full = fullNetworkOf(model)
  const stages = schedule.map(({ l, n }) => {
    const { blocks, depth, resolution } = subnetworkOf(full, l, n)
    return { l, n, blocks, depth, resolution, flops: model.flops({ blocks, resolution }) }
  })
  const average = stages.reduce((sum, stage) => sum + stage.flops, 0) / stages.length
  return { stages, average, speedup: model.flops({}) / average }
}
