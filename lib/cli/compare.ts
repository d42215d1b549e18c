/** `autoprog compare`: several schemes and seeds of one recipe, and the paper's table of them. */
import { join } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { AutoprogError, nearest } from '../errors.js'
import { type Config, loadConfig, resolveConfig, withScheme } from '../recipe/config.js'
import { type ComparedRun, compareRuns, comparisonMarkdown } from '../report/comparison.js'
import type { Summary } from '../report/events.js'
import { describeMachine } from '../report/machine.js'
import { hasCheckpoint, hasSummary, readSummary, writeAtomically } from '../report/run-folder.js'
import { withAbsolutePaths } from '../training/run-data.js'
import { type CommonOptions, createCommand, parseNumbers, printResult, statusStream } from './command.js'
import {
  type ComparedScheme,
  comparedSchemes,
  missingSchemes,
  type PlannedRun,
  planRuns,
  sameConfig,
  shortenedOriginal,
} from './compare-plan.js'
import { type Interrupt, listenForInterrupt } from './interrupt.js'
import { packageVersion } from './package.js'
import { addRecipeOptions, loadRecipe, type RecipeOptions } from './recipe.js'
import { holdsRun, runTraining } from './run.js'

interface CompareOptions extends CommonOptions, RecipeOptions {
  schemes: ComparedScheme[]
  seeds: number[]
  out?: string
  results?: string
}

interface FinishedRun extends ComparedRun {
  readonly folder: string
}

const example = `autoprog compare recipes/fashion-mnist.yaml --schemes original,prog,autoprog,original-short --seeds 0,1,2`

export function compareCommand(): Command {
  const command = createCommand(
    'compare',
    'trains a recipe under several schemes and seeds; run again, it goes on where it stopped',
    example,
  )
    .argument('<recipe>', 'recipe file, or name of one in the package')
    .requiredOption('--schemes <list>', `schemes, of ${comparedSchemes.join(', ')}`, parseSchemes)
    .option('--seeds <list>', 'seeds', parseNumbers, [0])
    .option('--out <folder>', 'folder of the runs (default: runs/compare-<recipe>)')
    .option('--results <file>', 'write the JSON to this file too')
  return addRecipeOptions(command).action(compare)
}

async function compare(recipe: string, options: CompareOptions, command: Command): Promise<void> {
  const missing = missingSchemes(options.schemes)
  if (missing !== undefined) command.error(missing)
  const { name, config } = loadRecipe(recipe, options)
  const out = options.out ?? join('runs', `compare-${name}`)
  const stream = statusStream(options)
  const interrupt = listenForInterrupt((message) => process.stderr.write(`\n${message}\n`))
  const runs: FinishedRun[] = []
  const planned = planRuns(options.schemes, options.seeds)
  try {
    for (const [index, run] of planned.entries()) {
      stream.write(`\n${run.scheme}, seed ${run.seed} (run ${index + 1} of ${planned.length})\n`)
      const folder = join(out, `${run.scheme}-${run.seed}`)
      const summary = await settle({ ...run, folder }, config, runs, stream, interrupt)
      if (summary === undefined) break
      runs.push({ ...run, folder, summary })
    }
  } finally {
    interrupt.release()
  }
  if (runs.length === planned.length) return finish(name, config, runs, out, options)
  process.exitCode = interrupt.status() ?? 1
  process.stderr.write(`stopped after ${runs.length} of ${planned.length} runs; the same command goes on from there\n`)
  if (options.json) printResult(options, { interrupted: true, runs }, '')
}

/** The summary of a planned run: of the finished one in its folder, or of the training now done or resumed there. */
async function settle(
  run: PlannedRun & { folder: string },
  base: Config,
  finished: readonly FinishedRun[],
  stream: NodeJS.WriteStream,
  interrupt: Interrupt,
): Promise<Summary | undefined> {
  const { folder } = run
  const asked = configOf(run, base, finished, (notice) => stream.write(`note: ${notice}\n`))
  const config = holdsRun(folder) ? loadConfig({ file: join(folder, 'config.yaml') }) : asked
  if (!sameConfig(withAbsolutePaths(asked), withAbsolutePaths(config))) {
    const hint = 'choose another --out, or remove the folder'
    throw new AutoprogError('CONFIG', `${folder} holds a run of another recipe`, { hint })
  }
  if (hasSummary(folder)) {
    stream.write(`kept: ${folder} has ended already\n`)
    return readSummary(folder)
  }
  // The control takes the time it is given: a speed-up of its own would say nothing.
  const original = run.scheme === 'original-short' ? undefined : ofSeed(finished, 'original', run.seed)
  const baseline = original === undefined ? {} : { baseline: original.folder }
  return runTraining({ config, out: folder, resume: hasCheckpoint(folder), stream, interrupt, ...baseline })
}

function configOf(
  { scheme, seed }: PlannedRun,
  base: Config,
  finished: readonly FinishedRun[],
  notify: (notice: string) => void,
): Config {
  const config = resolveConfig({ ...base, seed })
  if (scheme !== 'original-short') return withScheme(config, scheme)
  // `missingSchemes` has seen to it that both ran before.
  const short = shortenedOriginal(
    config,
    ofSeed(finished, 'original', seed)!.summary,
    ofSeed(finished, 'autoprog', seed)!.summary,
  )
  notify(short.notice)
  return short.config
}

function ofSeed(runs: readonly FinishedRun[], scheme: ComparedScheme, seed: number): FinishedRun | undefined {
  return runs.find((run) => run.scheme === scheme && run.seed === seed)
}

function finish(
  recipe: string,
  config: Config,
  runs: readonly FinishedRun[],
  out: string,
  options: CompareOptions,
): void {
  const schemes = compareRuns(runs)
  const date = new Date().toISOString()
  const document = { recipe, version: packageVersion(), date, machine: describeMachine(), config, schemes, runs }
  const json = `${JSON.stringify(document, null, 2)}\n`
  const markdown = comparisonMarkdown(schemes)
  writeAtomically(join(out, 'compare.json'), json)
  writeAtomically(join(out, 'compare.md'), `${markdown}\n`)
  if (options.results !== undefined) writeAtomically(options.results, json)
  printResult(options, document, `\n${markdown}\n\nwritten to ${join(out, 'compare.json')} and compare.md`)
}

function parseSchemes(text: string): ComparedScheme[] {
  return text.split(',').map((name) => {
    const scheme = comparedSchemes.find((each) => each === name.trim())
    if (scheme !== undefined) return scheme
    const guess = nearest(name, comparedSchemes)
    throw new InvalidArgumentError(
      `There is no scheme ${name}. ${guess === undefined ? `Schemes: ${comparedSchemes.join(', ')}` : `Did you mean ${guess}?`}`,
    )
  })
}
