/** The text of a recipe file, where it is one that a YAML parser takes in little time and memory. */
import { readFileSync, statSync } from 'node:fs'
import { Lexer } from 'yaml'
import { AutoprogError } from '../errors.js'

/** Bytes of the largest file, and levels of the deepest nesting: more is a mistake or an attack, and a parser recurses. */
const mostBytes = 2 ** 18
const mostLevels = 100

/** Reads a recipe file. Throws CONFIG where it cannot be read, is none, is larger than any recipe or nested deeper. */
export function readRecipe(file: string): string {
  const text = read(file)
  if (nestsTooDeep(text)) {
    const hint = 'a recipe has four levels; look for a bracket that is not closed'
    throw new AutoprogError('CONFIG', `${file} nests its values more than ${mostLevels} levels deep`, { hint })
  }
  return text
}

function read(file: string): string {
  const hint = 'give the path of a YAML file, such as recipes/fashion-mnist.yaml'
  try {
    const found = statSync(file)
    if (!found.isFile()) throw new Error('it is no file')
    if (found.size <= mostBytes) return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new AutoprogError('CONFIG', `Cannot read the recipe ${file}`, { hint, cause })
  }
  const message = `${file} is larger than any recipe: it has more than ${mostBytes} bytes`
  throw new AutoprogError('CONFIG', message, { hint })
}

/** Brackets nest, and so do the items and keys that begin in one line. */
function nestsTooDeep(text: string): boolean {
  let [brackets, begun] = [0, 0]
  for (const token of new Lexer().lex(text)) {
    if (token === '[' || token === '{') brackets++
    else if (token === ']' || token === '}') brackets--
    else if (token === '-' || token === '?') begun++
    else if (token === '\n' || token === '\r\n') begun = 0
    if (brackets + begun > mostLevels) return true
  }
  return false
}
