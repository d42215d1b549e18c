/** `autoprog train`: trains a recipe. */
import { basename, join } from 'node:path'
import { type Command, Option } from 'commander'
import { datasetNames } from '../../datasets/index.js'
import { AutoprogError } from '../errors.js'
import { type Config, scheduleKinds } from '../recipe/config.js'
import { hasCheckpoint, hasSummary, readSummary } from '../report/run-folder.js'
import { summaryText } from '../report/text.js'
import { type CommonOptions, createCommand, parseNumber, printResult, statusStream } from './command.js'
import { listenForInterrupt } from './interrupt.js'
import { addRecipeOptions, defaultRecipe, loadRecipe, ownRecipe, type RecipeOptions } from './recipe.js'
import { withScheduleOf } from './retrain.js'
import { freshFolder, holdsRun, latestRun, runTraining } from './run.js'

interface TrainOptions extends CommonOptions, RecipeOptions {
  out?: string
  resume?: boolean
  baseline?: string
  retrain?: string
}

const example = `autoprog train                                   # the Fashion-MNIST recipe
autoprog train recipes/mnist.yaml --schedule original --epochs 3 --set optimizer.learningRate=5e-4
autoprog train --resume --out runs/fashion-mnist-autoprog-0
autoprog train --retrain runs/fashion-mnist-autoprog-0   # from scratch, with the schedule that it found`

export function trainCommand(): Command {
  const command = createCommand('train', 'trains a recipe', example).argument(
    '[recipe]',
    `recipe file, or name of one in the package (default: ${defaultRecipe}, or ${ownRecipe} where --data is a path)`,
  )
  return addRecipeOptions(command)
    .addOption(new Option('--schedule <scheme>', 'training scheme').choices(scheduleKinds))
    .option('--seed <n>', 'seed of every random draw', parseNumber)
    .option('--out <folder>', 'run folder (default: runs/<recipe>-<scheme>-<seed>)')
    .option('--resume', 'continue the run in the folder from its last checkpoint')
    .option('--baseline <run>', 'folder of a finished run of the original scheme, for the practical speed-up')
    .option('--retrain <run>', 'train the schedule that a finished run found, by its recipe unless one is given')
    .action(train)
}

async function train(recipe: string | undefined, options: TrainOptions): Promise<void> {
  const { config, out } = plan(recipe, options)
  const stream = statusStream(options)
  if (options.resume && hasSummary(out)) {
    const summary = readSummary(out)
    return printResult(options, { run: out, summary }, `${out} has ended already\n${summaryText(summary)}`)
  }
  const baseline = options.baseline
  if (baseline !== undefined) checkBaseline(baseline)
  const interrupt = listenForInterrupt((message) => process.stderr.write(`\n${message}\n`))
  stream.write(`run folder: ${out}\n`)
  const resume = options.resume === true
  const request = { config, out, resume, stream, interrupt, ...(baseline === undefined ? {} : { baseline }) }
  const summary = await runTraining(request).finally(interrupt.release)
  if (summary !== undefined) return options.json ? printResult(options, { run: out, summary }, '') : undefined
  process.exitCode = interrupt.status() ?? 1
  process.stderr.write(`stopped; to continue: autoprog train --resume --out ${out}\n`)
  if (options.json) printResult(options, { run: out, summary: null }, '')
}

/** The recipe to train and its folder; a resume without a recipe takes the one recorded in the folder. */
function plan(recipe: string | undefined, options: TrainOptions): { config: Config; out: string } {
  const { name, config } =
    options.retrain === undefined
      ? loadRecipe(recipe ?? recipeFor(options.data), options)
      : retrained(options.retrain, recipe, options)
  const base = join('runs', `${name}-${config.schedule.kind}-${config.seed}`)
  if (options.resume) {
    const out = options.out ?? latestRun(base)
    if (!holdsRun(out)) throw nothingToResume(out)
    return { config: recipe === undefined ? loadRecipe(join(out, 'config.yaml'), options).config : config, out }
  }
  if (options.out === undefined) return { config, out: freshFolder(base) }
  if (!hasCheckpoint(options.out) && !hasSummary(options.out)) return { config, out: options.out }
  const hint = 'add --resume to continue it, or choose another --out'
  throw new AutoprogError('CHECKPOINT', `${options.out} holds a run already`, { hint })
}

/** The recipe with the sub-networks of a finished run's stages as its schedule. */
function retrained(run: string, recipe: string | undefined, options: TrainOptions): { name: string; config: Config } {
  const { name, config } = loadRecipe(recipe ?? join(run, 'config.yaml'), options)
  return {
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
  const { scheme } = readSummary(folder)
  if (scheme === 'original') return
  const hint = 'a practical speed-up is measured against the original scheme'
  throw new AutoprogError(
    'CONFIG',
    `Expected a run of the original scheme for --baseline but received one of ${scheme}`,
    { hint },
  )
}
