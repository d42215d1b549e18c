/** The recipes of the package, and those of users. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, extname, join } from 'node:path'
import { AutoprogError, expected, nearest } from '../errors.js'
import { packageRoot } from '../package.js'

/** A recipe by path or by the name of one in the package (`mnist`). Throws CONFIG with the nearest name. */
export function findRecipe(recipe: string): string {
  const folder = join(packageRoot(), 'recipes')
  const file = [recipe, join(folder, `${recipe}.yaml`), join(folder, basename(recipe))].find(isFile)
  const isData = /\.(tar|pack)$/.test(recipe)
  if (file !== undefined && !isData) return file
  if (isData || existsSync(recipe)) {
    const isRun = existsSync(join(recipe, 'config.yaml'))
    const hint = isRun
      ? `${recipe} is a run's folder: evaluate takes it so, compare with --runs, train with --resume --out or --retrain`
      : `did you mean --data ${recipe}?`
    throw new AutoprogError('CONFIG', expected('a recipe file', 'the recipe', recipe), { hint })
  }
  const other = recipe.replace(/\.ya?ml$/, (ending) => (ending === '.yml' ? '.yaml' : '.yml'))
  if (other !== recipe && isFile(other))
    throw new AutoprogError('CONFIG', `There is no recipe ${recipe}`, { hint: `did you mean ${other}?` })
  const names = recipeNames()
  const guess = nearest(basename(recipe, extname(recipe)), names)
  const hint = guess === undefined ? `recipes in the package: ${names.join(', ')}` : `did you mean ${guess}?`
  throw new AutoprogError('CONFIG', `There is no recipe ${recipe}`, { hint })
}

/** The recipes in the package. */
export function recipeNames(): string[] {
  return readdirSync(join(packageRoot(), 'recipes')).map((name) => basename(name, extname(name)))
}

function isFile(path: string): boolean {
  return existsSync(path) && statSync(path).isFile()
}
