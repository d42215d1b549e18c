/** Recipes: YAML or a plain object in, a complete `Config` out; every mistake is named with its path and, in a file, its line. */
import { type Document, isNode, LineCounter, parseDocument, stringify } from 'yaml'
import type { z } from 'zod'
import { AutoprogError, checkOptions, expected, nearest } from '../errors.js'
import { readRecipe } from './file.js'
import { contradictions, type Problem } from './rules.js'
import { type Config, type ConfigInput, configSchema, type Schedule, scheduleKinds } from './schema.js'
import { stageCount } from './values.js'

export {
  type Batched,
  type Config,
  type ConfigInput,
  configSchema,
  growthOperators,
  type Schedule,
  scheduleKinds,
} from './schema.js'
export { stageCount } from './values.js'

/** A value given on the command line for a dotted path such as `schedule.stages`; it replaces the file's. */
export interface Override {
  readonly path: string
  readonly value: unknown
}

/** Checks a recipe given as an object and fills in its defaults. Throws CONFIG with every problem found. */
export function resolveConfig(input: unknown): Config {
  return accept(input, () => '')
}

/** Reads a recipe from a YAML file, applies the overrides in order, then the scheme, and checks the whole. Throws CONFIG. */
export function loadConfig(options: {
  file?: string
  overrides?: readonly Override[]
  scheme?: Schedule['kind'] | undefined
}): Config {
  checkOptions('the options of a recipe', options, { file: 'path', overrides: 'list', scheme: 'string' })
  const { file, overrides = [], scheme } = options
  for (const override of overrides) checkOptions('an override', override, { path: 'string' })
  if (scheme !== undefined && !scheduleKinds.includes(scheme))
    throw new AutoprogError('CONFIG', expected(`one of ${scheduleKinds.join(', ')}`, 'the scheme', scheme))
  const lineCounter = new LineCounter()
  const document = parseDocument(file === undefined ? '{}' : readRecipe(file), { lineCounter })
  const failure = document.errors[0]
  if (failure !== undefined) throw new AutoprogError('CONFIG', `${file} is not YAML: ${failure.message.trimEnd()}`)
  for (const override of overrides) apply(document, override)
  const place = (path: Problem['path']) => {
    const offset = offsetOf(document, path)
    return offset === undefined ? '' : `${file}, line ${lineCounter.linePos(offset).line}: `
  }
  return accept(valuesOf(document, file), place, scheme)
}

/** The recipe as YAML, as `config.yaml` in a run folder holds it; `loadConfig` reads it back unchanged. */
export function configToYaml(config: Config): string {
  return stringify(config)
}

/** The same recipe under another scheme; stage lengths that do not fit its number of stages give way to the scheme's own. */
export function withScheme(config: Config, kind: Schedule['kind']): Config {
  return accept(config, () => '', kind)
}

function underScheme(config: Config, kind: Schedule['kind']): Config {
  const schedule = { ...config.schedule, kind }
  if (kind === 'fixed') schedule.stages = schedule.subnetworks?.length ?? schedule.stages
  if (schedule.lengths?.length !== stageCount(schedule)) schedule.lengths = null
  return { ...config, schedule }
}

/** Aliases that stand for more than they should, or for nothing, are only seen when values are made of them. */
function valuesOf(document: Document, file: string | undefined): unknown {
  try {
    return document.toJS() ?? {}
  } catch (cause) {
    const hint = 'write values out in place of aliases'
    throw new AutoprogError('CONFIG', `${file} cannot be read as a recipe: ${(cause as Error).message}`, {
      hint,
      cause,
    })
  }
}

function apply(document: Document, { path, value }: Override): void {
  try {
    document.setIn(path.split('.'), document.createNode(value))
  } catch (cause) {
    const message = expected('a path to a recipe key', 'an override', path)
    throw new AutoprogError('CONFIG', message, { hint: `part of ${path} is a single value, not a mapping`, cause })
  }
}

function accept(input: unknown, place: (path: Problem['path']) => string, scheme?: Schedule['kind']): Config {
  const parsed = configSchema.safeParse(input)
  const config = parsed.success && scheme !== undefined ? underScheme(parsed.data, scheme) : parsed.data
  const problems =
    config === undefined
      ? parsed.error!.issues.flatMap((issue) => toProblems(issue, input, []))
      : contradictions(config)
  if (config !== undefined && problems.length === 0) return config
  const [first] = problems
  if (problems.length === 1 && first !== undefined) {
    const options = first.hint === undefined ? {} : { hint: first.hint }
    throw new AutoprogError('CONFIG', place(first.path) + first.message, options)
  }
  const line = ({ path, message, hint }: Problem) => `${place(path)}${message}${hint === undefined ? '' : ` (${hint})`}`
  throw new AutoprogError('CONFIG', problems.map(line).join('\n'))
}

function toProblems(issue: z.core.$ZodIssue, input: unknown, base: Problem['path']): Problem[] {
  const path = [...base, ...issue.path.map((key) => (typeof key === 'symbol' ? String(key) : key))]
  const received = valueAt(input, path)
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => unknownKey(path, key, issue.message.split(', ')))
  }
  if (issue.code === 'invalid_union' && received !== null && typeof received === 'object') {
    // A mapping was meant, so that alternative's own problems say more than the union's.
    const inner = issue.errors.find((all) =>
      all.some((each) => each.path.length > 0 || each.code === 'unrecognized_keys'),
    )
    if (inner !== undefined) return inner.flatMap((each) => toProblems(each, input, path))
  }
  const problem = { path, message: expected(issue.message, path.join('.') || 'a recipe', received) }
  if (issue.code !== 'invalid_value' || typeof received !== 'string') return [problem]
  const guess = nearest(received, issue.values.map(String))
  return [guess === undefined ? problem : { ...problem, hint: `did you mean ${guess}?` }]
}

function unknownKey(path: Problem['path'], key: string, known: readonly string[]): Problem {
  const near = nearest(key, known)
  const guess = allPaths().find((each) => each.endsWith(`.${key}`)) ?? (near && [...path, near].join('.'))
  const hint = guess === undefined ? `known keys: ${known.join(', ')}` : `did you mean ${guess}?`
  return { path: [...path, key], message: `Unknown key ${[...path, key].join('.')}`, hint }
}

/** Every dotted path that has a default: finds a key written at the wrong depth. */
function allPaths(): string[] {
  const walk = (value: unknown, path: string): string[] =>
    value !== null && typeof value === 'object' && !Array.isArray(value)
      ? Object.entries(value).flatMap(([key, inner]) => walk(inner, `${path}.${key}`))
      : [path.slice(1)]
  return walk(configSchema.parse({ data: '-', model: '-' } satisfies ConfigInput), '')
}

function valueAt(input: unknown, path: Problem['path']): unknown {
  const step = (value: unknown, key: string | number) => (value as Record<string | number, unknown> | undefined)?.[key]
  return path.reduce<unknown>(step, input)
}

/** Where the value at a path, or else the nearest mapping around it, stands in the file; what an override made stands nowhere. */
function offsetOf(document: Document, path: Problem['path']): number | undefined {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true)
    if (isNode(node)) return node.range?.[0]
  }
  return undefined
}
