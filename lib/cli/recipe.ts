/** The recipe that a command line asks for: a file, flags for its common keys, `--set` for all others, a scheme. */
import { basename, extname } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { parse } from 'yaml'
import { AutoprogError } from '../errors.js'
import { type Config, loadConfig, type Override } from '../recipe/config.js'
import { adapt } from './adapt.js'
import { parseNumber } from './command.js'
import { findRecipe } from './recipe-files.js'

/** What is trained without a recipe, and with data of one's own. */
export const [defaultRecipe, ownRecipe] = ['fashion-mnist', 'own-images']

export interface RecipeOptions {
  data?: string
  model?: string
  schedule?: Config['schedule']['kind']
  stages?: number
  ratio?: number
  epochs?: number
  batch?: number
  lr?: number
  resolution?: number
  workers?: number
  precision?: string
  validation?: number
  deterministic?: boolean
  device?: string
  seed?: number
  set?: Override[]
}

/** Flags that stand for one recipe key each. */
const keys = {
  data: 'data',
  model: 'model',
  stages: 'schedule.stages',
  ratio: 'schedule.ratio',
  epochs: 'epochs',
  batch: 'batch',
  lr: 'optimizer.learningRate',
  resolution: 'model.imageSize',
  workers: 'workers',
  precision: 'precision',
  device: 'device',
  seed: 'seed',
  validation: 'validation',
  deterministic: 'deterministic',
} as const

export function addRecipeOptions(command: Command): Command {
  return command
    .option('--data <data>', 'dataset name, or path of a folder or tar file')
    .option('--model <name>', 'model name')
    .option('--stages <n>', 'number of stages', parseNumber)
    .option('--ratio <r>', 'smallest candidate as a share of the full network', parseNumber)
    .option('--epochs <n>', 'epochs', parseNumber)
    .option('--batch <n>', 'batch size', parseNumber)
    .option('--lr <rate>', 'learning rate', parseNumber)
    .option('--resolution <pixels>', 'image size of a network that the recipe spells out', parseNumber)
    .option('--workers <n>', 'threads that decode and augment images', parseNumber)
    .option('--precision <p>', 'fp32, bf16 or fp16')
    .option('--device <d>', 'auto, cpu, cuda or cuda:N')
    .option('--validation <share>', 'share of the training images kept for choosing what is tested', parseNumber)
    .option('--deterministic', 'let nothing depend on the time that something takes, so that a run repeats bit by bit')
    .option('--set <key=value>', 'any recipe key, for example --set ema.decays=[0.99] (repeatable)', addOverride)
}

export interface LoadedRecipe {
  readonly name: string
  readonly config: Config
  /** What of the recipe gave way to the flags. */
  readonly notices: readonly string[]
}

/** Loads `file` (a recipe's path or name) with the flags applied; what does not go with them gives way. Throws CONFIG. */
export function loadRecipe(file: string, { resolution, schedule, ...others }: RecipeOptions): LoadedRecipe {
  const path = findRecipe(file)
  const load = (overrides: readonly Override[]) => loadConfig({ file: path, overrides, scheme: schedule })
  const given = overridesOf(others)
  const adapted = adapt(load, given)
  if (resolution === undefined) return { name: basename(path, extname(path)), ...adapted }
  checkSpeltOut(adapted.config, resolution)
  return { name: basename(path, extname(path)), ...adapt(load, [...given, ...overridesOf({ resolution })]) }
}

/** What the flags set; `--set` comes last. */
function overridesOf(options: Partial<RecipeOptions>): Override[] {
  const flags = Object.entries(keys).flatMap(([flag, key]) => {
    const value = options[flag as keyof typeof keys]
    return value === undefined ? [] : [{ path: key, value }]
  })
  return [...flags, ...(options.set ?? [])]
}

/** A model by name has a resolution of its own. */
function checkSpeltOut({ model }: Config, resolution: number): void {
  if (typeof model !== 'string') return
  const hint =
    'spell the network out, as in recipes/mnist.yaml, or choose another --model: autoprog list says their sizes'
  throw new AutoprogError('CONFIG', `Cannot set a resolution of ${resolution} px for the model ${model}`, { hint })
}

export function addOverride(text: string, previous: Override[] = []): Override[] {
  const at = text.indexOf('=')
  if (at <= 0) throw new InvalidArgumentError('Expected key=value, such as search.batches=20.')
  try {
    return [...previous, { path: text.slice(0, at).trim(), value: parse(text.slice(at + 1)) as unknown }]
  } catch {
    throw new InvalidArgumentError('Expected a YAML value after the equals sign.')
  }
}
