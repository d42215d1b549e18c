/** `autoprog paper`: one of the paper's tables, trained, with the paper's own figures beside ours. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Argument, type Command } from 'commander'
import { roundToMultiple } from '../growth/rounding.js'
import { packageVersion } from '../package.js'
import { type Config, loadConfig, resolveConfig } from '../recipe/config.js'
import { describeMachine } from '../report/machine.js'
import { writeAtomically } from '../report/run-folder.js'
import { printLine } from '../report/terminal.js'
import { type CommonOptions, createCommand, parseNumbers, printResult, statusStream } from './command.js'
import type { FinishedRun } from './compare-plan.js'
import { type Entry, makeRuns, reportStop, type Surroundings } from './compare-runs.js'
import { listenForInterrupt } from './interrupt.js'
import { paperComparison, paperMarkdown } from './paper-report.js'
import { type PaperRow, type PaperTable, type PaperTableName, paperTables, selectRows } from './paper-tables.js'
import { addRecipeOptions, loadRecipe, type RecipeOptions } from './recipe.js'
import { withScheduleOf } from './retrain.js'

interface PaperOptions extends CommonOptions, RecipeOptions {
  seeds: number[]
  only?: string
  out: string
}

const example = `autoprog paper IV --data /data/imagenet
autoprog paper II --only 'deit-s, prog' --data /data/imagenet`

export function paperCommand(): Command {
  const command = createCommand(
    'paper',
    "trains the rows of one of the paper's tables, with its figures beside ours; run again, it goes on where it stopped",
    example,
  )
    .addArgument(new Argument('<table>', 'number of the table').choices(Object.keys(paperTables)))
    .option('--only <text>', 'rows whose names hold this text, and those that they are measured against')
    .option('--seeds <list>', 'seeds', parseNumbers, [0])
    .option('--out <folder>', 'folder of the runs, which tables share', join('runs', 'paper'))
  return addRecipeOptions(command).action(paper)
}

async function paper(name: PaperTableName, options: PaperOptions, command: Command): Promise<void> {
  const table: PaperTable = paperTables[name]
  const rows = selectRows(table, options.only)
  if (rows.length === 0) command.error(`No row of table ${name} holds "${options.only}": ${namesOf(table.rows)}`)
  const entries = entriesOf(rows, options)
  const interrupt = listenForInterrupt((message) => printLine(process.stderr, message))
  const surroundings = { stream: statusStream(options), interrupt }
  try {
    const runs = await makeRuns(entries, surroundings)
    const fine = runs.length === entries.length ? await fineAccuracies(rows, runs, surroundings) : undefined
    if (fine !== undefined) return finish(name, table.title, rows, runs, fine, options)
    reportStop(interrupt, runs, entries.length, options)
  } finally {
    interrupt.release()
  }
}

const namesOf = (rows: readonly PaperRow[]) => rows.map((row) => row.name).join('; ')

/** The runs of a table's rows, seed by seed; rows may share one. */
function entriesOf(rows: readonly PaperRow[], options: PaperOptions): Entry[] {
  const folderOf = (row: PaperRow, seed: number) => join(options.out, `${row.run.name}-${seed}`)
  const named = (name: string) => rows.find((row) => row.name === name)!
  const distinct = rows.filter((row, index) => rows.findIndex(({ run }) => run.name === row.run.name) === index)
  return [...new Set(options.seeds)].flatMap((seed) =>
    distinct.map((row): Entry => {
      const { run, baseline } = row
      return {
        ...{ scheme: run.name, seed, group: run.recipe, folder: folderOf(row, seed) },
        recipe: (_finished, notify) => {
          const config = recipeOf(row, options, seed, notify)
          return run.retrain === undefined ? config : withScheduleOf(config, folderOf(named(run.retrain), seed))
        },
        baseline: () => (baseline === row.name ? undefined : folderOf(named(baseline), seed)),
      }
    }),
  )
}

/** The row's recipe: its epochs unless the command line says otherwise, and in any case what the row is about. */
function recipeOf({ run }: PaperRow, options: PaperOptions, seed: number, notify: (notice: string) => void): Config {
  const { recipe, scheme, epochs, set, retrain } = run
  const own = Object.entries(set).map(([path, value]) => ({ path, value }))
  const { config, notices } = loadRecipe(recipe, {
    ...options,
    epochs: options.epochs ?? epochs,
    set: [...(options.set ?? []), ...own],
    // Its schedule is still to come.
    schedule: retrain === undefined ? scheme : 'original',
  })
  for (const notice of notices) notify(notice)
  return resolveConfig({ ...config, seed })
}

/** Top-1 at 288 pixels, or as much more than the full resolution, of the rows that the paper has it of; undefined where stopped. */
async function fineAccuracies(
  rows: readonly PaperRow[],
  runs: readonly FinishedRun[],
  { stream, interrupt }: Surroundings,
): Promise<Map<string, number> | undefined> {
  const names = new Set(rows.filter(({ paper }) => paper.top1At288 !== undefined).map(({ run }) => run.name))
  const accuracies = new Map<string, number>()
  for (const { scheme, folder } of runs.filter((run) => names.has(run.scheme))) {
    if (interrupt.signal.aborted) return undefined
    const [{ createModel }, { evaluate }] = await Promise.all([
      import('../models/registry.js'),
      import('../training/evaluate.js'),
    ])
    const network = loadConfig({ file: join(folder, 'config.yaml') }).model
    const { imageSize, growthMultiple } = createModel(network, { classes: 2 }) // whatever the data
    const resolution = roundToMultiple((imageSize * 288) / 224, growthMultiple)
    const file = join(folder, `evaluation-${resolution}.json`)
    if (!existsSync(file)) {
      printLine(stream, `${scheme}: evaluating at ${resolution} px`)
      writeAtomically(file, `${JSON.stringify(await evaluate(folder, { resolution, signal: interrupt.signal }))}\n`)
    }
    const { emas } = JSON.parse(readFileSync(file, 'utf8')) as { emas: { top1: number }[] }
    accuracies.set(folder, Math.max(...emas.map(({ top1 }) => top1)))
  }
  return accuracies
}

function finish(
  name: string,
  title: string,
  rows: readonly PaperRow[],
  runs: readonly FinishedRun[],
  fine: ReadonlyMap<string, number>,
  options: PaperOptions,
): void {
  const compared = paperComparison(rows, runs, fine)
  const markdown = `Table ${name}: ${title}\n\n${paperMarkdown(compared)}\n\n${notes}`
  const facts = { table: name, title, version: packageVersion(), date: new Date().toISOString() }
  const document = { ...facts, machine: describeMachine(), rows: compared, runs }
  const file = join(options.out, `table-${name}`)
  writeAtomically(`${file}.json`, `${JSON.stringify(document, null, 2)}\n`)
  writeAtomically(`${file}.md`, `${markdown}\n`)
  printResult(options, document, `\n${markdown}\n\nwritten to ${file}.json and table-${name}.md`)
}

const notes = `The paper's figures are those of ImageNet at full size, of its epochs and its GPUs. Top-1 is the best average's, which the
held-out images choose. MACs are forward multiply-adds an image and step, searches and their scoring included, without the
cooldown; times and speed-ups are those of whole runs.`
