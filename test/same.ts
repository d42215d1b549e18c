import { isDeepStrictEqual } from 'node:util'
import type { ExecutionContext } from 'ava'

/**
 * `t.deepEqual` for what holds many numbers: fails with a line that names the first place where the two differ and how many
 * values do, where AVA would print all of them, which takes minutes.
 */
export function same<T>(t: ExecutionContext, actual: T, wanted: T, what = ''): void {
  if (isDeepStrictEqual(actual, wanted)) t.pass()
  else t.fail(`${what}${difference(actual, wanted)}`)
}

/** `t.notDeepEqual` for the same. */
export function different(t: ExecutionContext, actual: unknown, other: unknown, what = 'both'): void {
  t.false(isDeepStrictEqual(actual, other), `${what} are the same`)
}

type Numbers = ArrayLike<number> & { readonly constructor: unknown }

function difference(actual: unknown, wanted: unknown): string {
  if (isNumbers(actual) && isNumbers(wanted)) return differenceOfNumbers(actual, wanted)
  const entries = entriesOf(actual)
  const wantedEntries = entriesOf(wanted)
  if (!entries || !wantedEntries) return `: ${show(actual)} instead of ${show(wanted)}`
  for (const [key, value] of wantedEntries) {
    if (!entries.has(key)) return `.${key}: missing`
    if (!isDeepStrictEqual(entries.get(key), value)) return `.${key}${difference(entries.get(key), value)}`
  }
  const more = [...entries.keys()].find((key) => !wantedEntries.has(key))
  return more === undefined ? ': of another kind, or in another order' : `.${more}: too much`
}

function differenceOfNumbers(actual: Numbers, wanted: Numbers): string {
  if (actual.constructor !== wanted.constructor || actual.length !== wanted.length)
    return `: ${show(actual)} instead of ${show(wanted)}`
  let first: number | undefined
  let count = 0
  for (let i = 0; i < wanted.length; i++)
    if (!Object.is(actual[i], wanted[i])) {
      first ??= i
      count++
    }
  return `[${first}]: ${actual[first!]} instead of ${wanted[first!]} (${count} of ${wanted.length} values differ)`
}

const isNumbers = (value: unknown): value is Numbers => ArrayBuffer.isView(value) && !(value instanceof DataView)

function entriesOf(value: unknown): Map<string, unknown> | undefined {
  if (value instanceof Map) return new Map([...value].map(([key, held]) => [String(key), held]))
  return typeof value === 'object' && value !== null && !isNumbers(value) ? new Map(Object.entries(value)) : undefined
}

const show = (value: unknown) =>
  isNumbers(value) ? `${value.length} values` : (JSON.stringify(value) ?? String(value)).slice(0, 200)
