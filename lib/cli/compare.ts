/** `autoprog compare`: recipes under several schemes and seeds, with runs that have ended, and the paper's table of them. */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { nearest } from '../errors.js'
import { packageVersion } from '../package.js'
import { type Config, resolveConfig, withScheme } from '../recipe/config.js'
import { compareRuns, comparisonMarkdown, comparisonNote, comparisonTable } from '../report/comparison.js'
import { wrap } from '../report/fit.js'
import { describeMachine } from '../report/machine.js'
import { writeAtomically } from '../report/run-folder.js'
import { lookOf, printLine } from '../report/terminal.js'
import { type CommonOptions, createCommand, parseNumbers, printNotices, printResult, statusStream } from './command.js'
import {
  baselineOf,
  type ComparedScheme,
  comparedSchemes,
  type FinishedRun,
  missingSchemes,
  planRuns,
  recipeLabels,
  shortenedOriginal,
} from './compare-plan.js'
import { type Entry, findRuns, makeRuns, reportStop } from './compare-runs.js'
import { listenForInterrupt } from './interrupt.js'
import { addRecipeOptions, loadRecipe, type RecipeOptions } from './recipe.js'

interface CompareOptions extends CommonOptions, RecipeOptions {
  schemes?: ComparedScheme[]
  seeds: number[]
  runs?: string[]
  out?: string
  results?: string
}

const example = `autoprog compare mnist --schemes original,autoprog,original-short
autoprog compare fashion-mnist --schemes original,prog --seeds 0,1,2
autoprog compare mnist mine.yaml --runs runs/old   # and finished runs`

export function compareCommand(): Command {
  const command = createCommand(
    'compare',
    'trains recipes under several schemes and seeds; run again, it goes on where it stopped',
    example,
  )
    .argument('[recipes...]', 'recipe files, or names of some in the package')
    .option('--schemes <list>', `schemes, of ${comparedSchemes.join(', ')} (default: each recipe's own)`, parseSchemes)
    .option('--seeds <list>', 'seeds', parseNumbers, [0])
    .option('--runs <folders...>', 'finished runs that join the table: their folders, or one that holds them')
    .option('--out <folder>', 'folder of the runs (default: runs/compare-<recipe>)')
    .option('--results <file>', 'write the JSON to this file too')
  return addRecipeOptions(command).action(compare)
}

async function compare(files: string[], options: CompareOptions, command: Command): Promise<void> {
  const { schemes } = options
  const folders = (options.runs ?? []).flatMap(separate)
  const missing = schemes === undefined ? undefined : missingSchemes(schemes)
  if (missing !== undefined) command.error(missing)
  if (files.length + folders.length === 0) command.error('Give a recipe, or finished runs with --runs')
  if (files.length === 1 && schemes === undefined && folders.length === 0)
    command.error('There is nothing to compare a single recipe with: give --schemes, another recipe, or --runs')
  const recipes = loadRecipes(files, options)
  for (const { notices } of recipes) printNotices(statusStream(options), notices)
  const out = options.out ?? join('runs', `compare-${recipes.map(({ label }) => fileName(label)).join('-') || 'runs'}`)
  const entries = recipes.flatMap((recipe) => entriesOf(recipe, recipes.length > 1, out, options))
  const planned = [...new Set(options.seeds)].flatMap((seed) => entries.filter((entry) => entry.seed === seed))
  const joined = findRuns(folders).filter(
    (run) => !planned.some((entry) => resolve(entry.folder) === resolve(run.folder)),
  )
  const interrupt = listenForInterrupt((message) => printLine(process.stderr, message))
  const runs = await makeRuns(planned, { stream: statusStream(options), interrupt }).finally(interrupt.release)
  if (runs.length === planned.length) return finish(recipes, [...runs, ...joined], out, options)
  reportStop(interrupt, runs, planned.length, options)
}

/** Folders may be given with commas between them, as schemes and seeds are; a comma may belong to a name too. */
const separate = (folders: string) =>
  existsSync(folders) ? [folders] : folders.split(',').filter((each) => each !== '')

interface Recipe {
  readonly label: string
  readonly config: Config
  readonly notices: readonly string[]
}

function loadRecipes(files: readonly string[], options: CompareOptions): Recipe[] {
  const labels = recipeLabels(files)
  return files.map((file, index) => ({ label: labels[index]!, ...loadRecipe(file, options) }))
}

const fileName = (label: string) => label.replace(/[^\w.-]+/g, '-')

function entriesOf({ label, config }: Recipe, several: boolean, out: string, options: CompareOptions): Entry[] {
  const { schemes = [config.schedule.kind], seeds } = options
  return planRuns(schemes, seeds).map(({ scheme, seed }) => {
    const ofScheme = (finished: readonly FinishedRun[], name: ComparedScheme) =>
      finished.find((run) => run.group === label && run.seed === seed && run.scheme === rowOf(name))
    const rowOf = (name: ComparedScheme) => (several ? `${label} ${name}` : name)
    const own = resolveConfig({ ...config, seed })
    return {
      ...{ scheme: rowOf(scheme), seed, group: label },
      folder: join(out, `${fileName(rowOf(scheme))}-${seed}`),
      recipe: (finished, notify) => {
        if (scheme !== 'original-short') return withScheme(own, scheme)
        // `missingSchemes` has seen to it that both ran before.
        const [original, autoprog] = [ofScheme(finished, 'original')!, ofScheme(finished, 'autoprog')!]
        const short = shortenedOriginal(own, original.summary, autoprog.summary)
        notify(short.notice)
        return short.config
      },
      // The control takes the time it is given: a speed-up of its own would say nothing.
      baseline: (finished) => (scheme === 'original-short' ? undefined : ofScheme(finished, 'original')?.folder),
    }
  })
}

function finish(recipes: readonly Recipe[], made: readonly FinishedRun[], out: string, options: CompareOptions): void {
  const runs = made.map((run) => {
    const baseline = baselineOf(run, made)?.scheme
    return { ...run, ...(baseline !== undefined && { baseline }) }
  })
  const schemes = compareRuns(runs)
  const date = new Date().toISOString()
  const recipe = recipes.map(({ label }) => label).join(', ')
  // One recipe's settings, or those of each.
  const config = recipes.length === 1 ? recipes[0]!.config : recipes.map((each) => each.config)
  const document = { recipe, version: packageVersion(), date, machine: describeMachine(), config, schemes, runs }
  const json = `${JSON.stringify(document, null, 2)}\n`
  const markdown = `${comparisonMarkdown(schemes)}\n\n${comparisonNote}`
  writeAtomically(join(out, 'compare.json'), json)
  writeAtomically(join(out, 'compare.md'), `${markdown}\n`)
  if (options.results !== undefined) writeAtomically(options.results, json)
  const look = lookOf(process.stdout)
  const shown = process.stdout.isTTY
    ? `${comparisonTable(schemes, look)}\n${wrap(comparisonNote, look.width)}`
    : `${markdown}\n`
  printResult(options, document, `\n${shown}\nwritten to ${join(out, 'compare.json')} and compare.md`)
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
