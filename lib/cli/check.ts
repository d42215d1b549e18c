/** `autoprog check`: every image of a dataset decoded once, what is broken named, and a sheet of what training would see. */
import { writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { listDataset } from '../../datasets/index.js'
import { imageFaults } from '../data/image/fault.js'
import { type Check, type CheckedImage, checkDataset, type Sizes } from '../data/source/check.js'
import type { Dataset } from '../data/source/dataset.js'
import { AutoprogError, expected, printable } from '../errors.js'
import { type Config, loadConfig } from '../recipe/config.js'
import { wrap } from '../report/fit.js'
import { integer } from '../report/format.js'
import { table } from '../report/table.js'
import { type Look, lookOf } from '../report/terminal.js'
import { countsText } from '../report/text.js'
import { type CommonOptions, createCommand, parseNumber, printResult } from './command.js'
import { createCounter } from './counter.js'
import { addOverride, loadRecipe, type RecipeOptions } from './recipe.js'

interface CheckOptions extends CommonOptions, Pick<RecipeOptions, 'seed' | 'set'> {
  recipe?: string
  sheet?: string
}

const example = `autoprog check photos                       # names the broken images
autoprog check photos --sheet check.png     # and draws what training sees
autoprog check --recipe mnist --sheet check.png`

/** Without a recipe: photographs as DeiT is trained on them. */
const defaults = [
  { path: 'model', value: 'deit_tiny_patch16_224' },
  { path: 'augmentation.randAugment', value: { magnitude: 9, deviation: 0.5, layers: 2 } },
]

export function checkCommand(): Command {
  return createCommand('check', 'decodes every image of a dataset and names what is broken', example)
    .argument('[data]', "dataset name, or path of a folder or tar file (default: the recipe's)")
    .option('--recipe <recipe>', 'recipe whose images the sheet shows (default: DeiT’s augmentation)')
    .option('--set <key=value>', 'any recipe key, for example --set augmentation.pad=4 (repeatable)', addOverride)
    .option('--seed <n>', 'chooses the images held out and those of the sheet', parseNumber)
    .option('--sheet <file>', 'write a PNG of some images and of what training makes of them')
    .action(check)
}

async function check(data: string | undefined, options: CheckOptions, command: Command): Promise<void> {
  if (data === undefined && options.recipe === undefined) command.error("error: missing required argument 'data'")
  checkSheet(options.sheet)
  const config = configOf(data, options)
  const dataset = await listDataset(config.data, { seed: config.seed })
  try {
    const counter = createCounter(process.stderr, 'checking', 'image')
    const found = await checkDataset(dataset, {
      onProgress: (done, total, broken) => counter.show(done, total, `${integer(broken)} broken`),
    }).finally(counter.clear)
    if (options.sheet !== undefined && found.sizes !== undefined)
      await writeSheet(options.sheet, dataset, found, config, options)
    const { uniform: _, ...report } = found
    const document = { data: config.data, ...report, sizes: found.sizes ?? null, notices: dataset.notices }
    const sheet = found.sizes === undefined ? null : (options.sheet ?? null)
    printResult(options, { ...document, sheet }, checkText(dataset, found, sheet))
    if (found.broken.length > 0) process.exitCode = 1
  } finally {
    await dataset.close()
  }
}

/** The recipe, or DeiT's; its data and seed give way to what the command line says. */
function configOf(data: string | undefined, { recipe, seed, set = [] }: CheckOptions): Config {
  const flags = { ...(data !== undefined && { data }), ...(seed !== undefined && { seed }), set }
  if (recipe !== undefined) return loadRecipe(recipe, flags).config
  const given = Object.entries({ data, seed }).flatMap(([path, value]) =>
    value === undefined ? [] : [{ path, value }],
  )
  return loadConfig({ overrides: [...defaults, ...given, ...set] })
}

function checkSheet(file: string | undefined): void {
  if (file === undefined || /\.png$/i.test(file)) return
  const hint = 'the sheet is a PNG, such as check.png'
  throw new AutoprogError('CONFIG', expected('a file that ends in .png', '--sheet', file), { hint })
}

async function writeSheet(file: string, dataset: Dataset, { uniform }: Check, config: Config, options: CheckOptions) {
  // Loaded late, so that a check without a sheet needs no addon.
  const [{ contactSheet }, { augmentationOf, isSmallSquare }, { createModel }] = await Promise.all([
    import('../data/image/contact-sheet.js'),
    import('../training/preparation.js'),
    import('../models/registry.js'),
  ])
  const model = createModel(config.model, { classes: dataset.classes.length, channels: dataset.channels })
  const named = options.recipe !== undefined || options.set?.some(({ path }) => path.split('.')[0] === 'model')
  const size = !named && uniform !== undefined && isSmallSquare({ uniform }) ? uniform.width : model.imageSize
  const augmentation = augmentationOf(config, { uniform }, model)
  const png = await contactSheet(dataset, { augmentation, size, seed: config.seed })
  await writeFile(file, png).catch((cause: Error) => {
    const hint = 'give a file in a folder that is there and that you may write to'
    throw new AutoprogError('CONFIG', `Cannot write the sheet ${file}: ${cause.message}`, { hint, cause })
  })
}

/** Classes are listed one by one up to this number. */
const listedClasses = 40

function checkText(dataset: Dataset, { images, classes, broken, refused, sizes }: Check, sheet: string | null): string {
  const { train, test, notices, name } = dataset
  const counts = countsText({ train: train.length, test: test.length }, classes.length)
  const rest = refused ? 'training would refuse: too many of a half' : 'training would go on without'
  const verdict =
    broken.length === 0
      ? images === 1
        ? 'the one image is good'
        : `all ${integer(images)} images are good`
      : `${integer(broken.length)} broken; ${rest}`
  const look = lookOf(process.stdout)
  const lines = (texts: readonly string[]) => texts.map((text) => wrap(text, look.width, 4))
  return [
    ...lines([`${name}: ${counts}`, ...notices.map((notice) => `note: ${notice}`)]),
    classesText(classes, look),
    ...lines([...(sizes === undefined ? [] : sizesText(sizes)), ...brokenText(broken)]),
    ...(sheet === null ? [] : [`sheet: ${sheet}`]),
    verdict,
  ].join('\n')
}

function classesText(classes: Check['classes'], look: Look): string {
  const head = ['class', 'training', 'held out', 'broken']
  const row = ({ name, train, test, broken }: Check['classes'][number]) => [name, ...[train, test, broken].map(integer)]
  if (classes.length <= listedClasses) return table(head, classes.map(row), 1, look)
  const ordered = [...classes].sort((a, b) => a.train - b.train)
  const [least, most] = [ordered[0]!, ordered.at(-1)!]
  return `classes of ${integer(least.train)} (${least.name}) to ${integer(most.train)} (${most.name}) training images`
}

function sizesText({ smallest, median, largest, distinct, extreme }: Sizes): string[] {
  const size = ({ width, height }: CheckedImage) => `${integer(width)} x ${integer(height)}`
  if (distinct === 1) return [`sizes: all ${size(median)}`]
  const range = `smallest ${size(smallest)}, median ${size(median)}, largest ${size(largest)}`
  const names = extreme.slice(0, 5).map(({ name }) => printable(name))
  const strips = `${integer(extreme.length)} longer than 1:10: ${names.join(', ')}${extreme.length > 5 ? ', …' : ''}`
  return [`sizes: ${range}; ${integer(distinct)} different ones`, ...(extreme.length > 0 ? [strips] : [])]
}

/** Every broken file by name, under the kind of its fault. */
function brokenText(broken: Check['broken']): string[] {
  return Object.entries(imageFaults).flatMap(([kind, heading]) => {
    const these = broken.filter(({ fault }) => fault === kind)
    const lines = these.map(({ name, reason }) => `  ${printable(`${name}: ${reason}`)}`)
    return lines.length === 0 ? [] : [`${heading} (${integer(lines.length)}):`, ...lines]
  })
}
