/** The package as installed: the same from `lib/` and from `dist/lib/`. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { AutoprogError, expected, nearest } from '../errors.js'

/** The folder that holds package.json, `recipes/` and `native/`. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder)
  return folder
}

export function packageVersion(): string {
  return (JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string }).version
}

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
