/** `autoprog list`: what a recipe or a command line can name. */
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { datasetNames } from '../../datasets/index.js'
import { createModel, modelNames } from '../models/registry.js'
import { scheduleKinds } from '../recipe/config.js'
import { wrap } from '../report/fit.js'
import { scaled } from '../report/format.js'
import { table } from '../report/table.js'
import { type Look, lookOf, paint } from '../report/terminal.js'
import { type CommonOptions, createCommand, printResult } from './command.js'
import { comparedSchemes } from './compare-plan.js'
import { findRecipe, recipeNames } from './recipe-files.js'

const example = `autoprog list
autoprog list --json`

export function listCommand(): Command {
  return createCommand('list', 'models, recipes, datasets and schemes that there are', example).action(list)
}

interface Listing {
  models: { name: string; resolution: number; parameters: number; flops: number }[]
  recipes: { name: string; about: string }[]
  datasets: readonly string[]
  schemes: readonly string[]
  comparedSchemes: readonly string[]
}

function list(options: CommonOptions): void {
  const models = modelNames().map((name) => {
    const model = createModel(name)
    return { name, resolution: model.imageSize, parameters: model.parameterCount(), flops: model.flops() }
  })
  const recipes = recipeNames().map((name) => ({ name, about: firstSentence(readFileSync(findRecipe(name), 'utf8')) }))
  const listing = { models, recipes, datasets: datasetNames, schemes: scheduleKinds, comparedSchemes }
  printResult(options, listing, listText(listing, lookOf(process.stdout)))
}

/** Of the comment that a recipe begins with; it may go over several lines. */
function firstSentence(recipe: string): string {
  const [comment = ''] = recipe.split(/^(?:#\s*|[^#].*)$/m)
  const text = comment.replace(/^# ?/gm, '').replace(/\s+/g, ' ').trim()
  return /^.*?\.(?= [A-Z]|$)/.exec(text)?.[0] ?? text
}

function listText({ models, recipes, datasets, schemes, comparedSchemes }: Listing, look: Look): string {
  const rows = models.map((each) => [each.name, `${each.resolution}`, scaled(each.parameters), scaled(each.flops)])
  const heading = (text: string) => paint(look, 'bold', text)
  const line = (name: string, about: string) => wrap(`  ${name.padEnd(nameColumn)}${about}`, look.width, nameColumn + 2)
  const more = comparedSchemes.filter((scheme) => !schemes.includes(scheme))
  return [
    heading('models (--model)'),
    table(['name', 'pixels', 'parameters', 'multiply-adds an image'], rows, 1, look),
    heading('recipes (train, compare)'),
    ...recipes.map(({ name, about }) => line(name, about)),
    heading('datasets by name (--data; any other is a path)'),
    ...datasets.map((name) => `  ${name}`),
    heading('schemes (--schedule; compare --schemes)'),
    ...schemes.map((name) => `  ${name}`),
    ...more.map((name) => `  ${name} (compare alone)`),
  ].join('\n')
}

const nameColumn = 22
