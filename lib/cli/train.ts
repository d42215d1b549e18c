/** `autoprog train`: trains a recipe. */
import { basename, dirname, join } from 'node:path'
import { type Command, Option } from 'commander'
import { datasetNames } from '../../datasets/index.js'
import { AutoprogError } from '../errors.js'
import { type Config, configToYaml, scheduleKinds } from '../recipe/config.js'
import { wrap } from '../report/fit.js'
import { bestFile, hasCheckpoint, hasSummary, readSummary } from '../report/run-folder.js'
import { lookOf, printLine } from '../report/terminal.js'
import { eventText, summaryText, valueColumn } from '../report/text.js'
import {
  type CommonOptions,
  createCommand,
  parseNumber,
  printNotices,
  printResult,
  shellWord,
  statusStream,
} from './command.js'
import { listenForInterrupt } from './interrupt.js'
import {
  addRecipeOptions,
  defaultRecipe,
  type LoadedRecipe,
  loadRecipe,
  ownRecipe,
  type RecipeOptions,
} from './recipe.js'
import { withScheduleOf } from './retrain.js'
import { checkRun, freshFolder, holdsRun, latestRun, runsIn, runTraining } from './run.js'

interface TrainOptions extends CommonOptions, RecipeOptions {
  out?: string
  resume?: boolean
  baseline?: string
  retrain?: string
  dryRun?: boolean
}

const example = `autoprog train                         # the Fashion-MNIST recipe
autoprog train --data photos           # a folder with one folder a class
autoprog train mnist --schedule original --epochs 3 --lr 5e-4
autoprog train --resume                # the last run that has not ended
autoprog train --retrain runs/first    # by the schedule that it found`

export function trainCommand(): Command {
  const command = createCommand('train', 'trains a recipe', example).argument(
    '[recipe]',
    `recipe file, or name of one in the package (default: ${defaultRecipe}, or ${ownRecipe} where --data is a path)`,
  )
  return addRecipeOptions(command)
    .addOption(new Option('--schedule <scheme>', 'training scheme').choices(scheduleKinds))
    .option('--seed <n>', 'seed of every random draw', parseNumber)
    .option('--out <folder>', 'run folder (default: runs/<recipe>-<scheme>-<seed>)')
    .option('--resume', 'continue the run in the folder, or the last one in runs/, from its last checkpoint')
    .option('--baseline <run>', 'folder of a finished run of the original scheme, for the practical speed-up')
    .option('--retrain <run>', 'train the schedule that a finished run found, by its recipe unless one is given')
    .option('--dry-run', 'look at data and device, print the whole recipe as YAML, and stop before the first step')
    .action(train)
}

async function train(recipe: string | undefined, options: TrainOptions): Promise<void> {
  const { config, out, notices } = plan(recipe, options)
  if (options.dryRun) return dryRun(config, notices, options)
  const stream = statusStream(options)
  if (options.resume && hasSummary(out)) {
    const summary = readSummary(out)
    return printResult(
      options,
      { run: out, summary },
      `${out} has ended already\n${summaryText(summary, lookOf(process.stdout))}`,
    )
  }
  const baseline = options.baseline
  if (baseline !== undefined) checkBaseline(baseline)
  const interrupt = listenForInterrupt((message) => printLine(process.stderr, message))
  printNotices(stream, notices)
  const resume = options.resume === true
  const request = { config, out, resume, stream, interrupt, ...(baseline === undefined ? {} : { baseline }) }
  const summary = await runTraining(request).finally(interrupt.release)
  if (summary !== undefined) {
    printLine(stream, wrap(`${'model'.padEnd(valueColumn)}${bestFile(out)}`, lookOf(stream).width))
    printLine(stream, `${'next'.padEnd(valueColumn)}npx autoprog predict ${shellWord(out)} IMAGES…`)
    return options.json ? printResult(options, { run: out, summary }, '') : undefined
  }
  process.exitCode = interrupt.status() ?? 1
  printLine(
    process.stderr,
    hasCheckpoint(out)
      ? `stopped; to continue: npx autoprog train --resume --out ${shellWord(out)}`
      : 'stopped before the first checkpoint: the same command begins anew',
  )
  if (options.json) printResult(options, { run: out, summary: null }, '')
}

/** The recipe with all that it leaves open, settled as training would; as it is where training would not begin. */
async function dryRun(config: Config, notices: readonly string[], options: TrainOptions): Promise<void> {
  printNotices(process.stderr, notices)
  // Loaded late, so that help and a mistake on the command line need no addon.
  const { preview } = await import('../training/trainer.js')
  try {
    const begins = await preview(config, options.baseline === undefined ? {} : { baseline: options.baseline })
    printNotices(process.stderr, begins.notices)
    printLine(process.stderr, eventText(begins.start, lookOf(process.stderr))!)
    printResult(options, begins.config, configToYaml(begins.config).trimEnd())
  } catch (error) {
    if (!options.json) printResult(options, config, configToYaml(config).trimEnd())
    throw error
  }
}

interface Plan extends Omit<LoadedRecipe, 'name'> {
  readonly out: string
}

/** The recipe to train and its folder; a resume without a recipe takes the one recorded in the folder. */
function plan(recipe: string | undefined, options: TrainOptions): Plan {
  if (options.resume && isPlain(recipe, options)) {
    const out = runsIn('runs').find((run) => dirname(run) === 'runs' && !hasSummary(run))
    if (out === undefined) throw nothingToResume('runs')
    return { ...loadRecipe(join(out, 'config.yaml'), options), out }
  }
  const { name, ...loaded } =
    options.retrain === undefined
      ? loadRecipe(recipe ?? recipeFor(options.data), options)
      : retrained(options.retrain, recipe, options)
  const base = join('runs', `${name}-${loaded.config.schedule.kind}-${loaded.config.seed}`)
  if (options.resume) {
    const out = options.out ?? latestRun(base)
    if (!holdsRun(out)) throw nothingToResume(out)
    return { ...(recipe === undefined ? loadRecipe(join(out, 'config.yaml'), options) : loaded), out }
  }
  if (options.out === undefined) return { ...loaded, out: freshFolder(base) }
  if (!hasCheckpoint(options.out) && !hasSummary(options.out)) return { ...loaded, out: options.out }
  const hint = 'add --resume to continue it, or choose another --out'
  throw new AutoprogError('CHECKPOINT', `${options.out} holds a run already`, { hint })
}

/** Whether nothing says which run is meant. */
function isPlain(recipe: string | undefined, { out, data, retrain }: TrainOptions): boolean {
  return [recipe, out, data, retrain].every((each) => each === undefined)
}

/** The recipe with the sub-networks of a finished run's stages as its schedule. */
function retrained(run: string, recipe: string | undefined, options: TrainOptions): LoadedRecipe {
  checkRun(run)
  const { name, config, notices } = loadRecipe(recipe ?? join(run, 'config.yaml'), options)
  return {
    notices,
    name: `${recipe === undefined ? basename(run) : name}-retrained`,
    config: withScheduleOf(config, run),
  }
}

/** Data by name has its own recipe; any other is a path. */
function recipeFor(data: string | undefined): string {
  if (data === undefined) return defaultRecipe
  return datasetNames.includes(data) ? data : ownRecipe
}

function nothingToResume(folder: string): AutoprogError {
  const hint = 'give the folder of an interrupted run with --out, or start one without --resume'
  return new AutoprogError('CHECKPOINT', `There is no run to resume in ${folder}`, { hint })
}

function checkBaseline(folder: string): void {
  checkRun(folder)
  const { scheme } = readSummary(folder)
  if (scheme === 'original') return
  const hint = 'a practical speed-up is measured against the original scheme'
  throw new AutoprogError(
    'CONFIG',
    `Expected a run of the original scheme for --baseline but received one of ${scheme}`,
    { hint },
  )
}
