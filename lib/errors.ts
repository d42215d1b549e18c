/** What kind of thing went wrong; stable, so that programs can react to it. */
export type ErrorCode = 'CONFIG' | 'DATA' | 'IMAGE' | 'SHAPE' | 'DEVICE' | 'MEMORY' | 'NUMERIC' | 'CHECKPOINT' | 'BUILD'

/** The one error class: `message` names the thing and the value, `hint` says what to do about it. */
export class AutoprogError extends Error {
  readonly code: ErrorCode
  readonly hint: string | undefined

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(printableLines(message), options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'AutoprogError'
    this.code = code
    this.hint = options.hint
  }
}

/**
 * One line of text from outside, such as the name of a file, with what would command a terminal or turn the line around
 * (controls, line separators, marks of direction) written as JSON writes it: `\\u001b`, `\\u202e`.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

/** The same for text that may have several lines. */
export const printableLines = (text: string): string => text.replace(/[^\n\t]+/g, printable)

/** Words a value for a message, short and on one line: `0`, `"abc" (string)`, `[1, 2] (array)`. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (ArrayBuffer.isView(value)) {
    const length = 'length' in value ? Number(value.length) : value.byteLength
    return `${Object.prototype.toString.call(value).slice(8, -1)} of length ${length}`
  }
  if (typeof value === 'string') return `"${brief(value, 60)}" (string)`
  if (Array.isArray(value))
    return `[${value.slice(0, 6).map(entry).join(', ')}${value.length > 6 ? ', …' : ''}] (array)`
  if (typeof value === 'object') return `an object with keys ${Object.keys(value).slice(0, 6).join(', ') || '(none)'}`
  if (typeof value === 'function') return `${value.name || 'a'} (function)`
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : `${String(value)} (${typeof value})`
}

/** An object need not have a string to show. */
const entry = (value: unknown): string =>
  Array.isArray(value) ? '[…]' : typeof value === 'object' && value !== null ? '{…}' : String(value)

/** The one wording of a wrong value: "Expected a positive integer for batch but received 0". */
export function expected(what: string, subject: string, received: unknown): string {
  return `Expected ${what} for ${subject} but received ${describe(received)}`
}

/** What a value may be, in words. */
const kinds = {
  number: ['a number', (value: unknown) => typeof value === 'number'],
  boolean: ['true or false', (value: unknown) => typeof value === 'boolean'],
  string: ['a string', (value: unknown) => typeof value === 'string'],
  path: ['a path', (value: unknown) => typeof value === 'string' && value !== ''],
  list: ['a list', Array.isArray],
  numbers: [
    'a list of numbers',
    (value: unknown) => Array.isArray(value) && value.every((item) => typeof item === 'number'),
  ],
  mapping: ['an object', (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value)],
  map: ['a Map', (value: unknown) => value instanceof Map],
  function: ['a function', (value: unknown) => typeof value === 'function'],
  signal: ['an AbortSignal', (value: unknown) => value instanceof AbortSignal],
} as const
export type Kind = keyof typeof kinds

const shaped: readonly Kind[] = ['list', 'numbers']

/** Throws unless the value is of this kind: SHAPE for lists, CONFIG for all else. */
export function checkKind(kind: Kind, subject: string, value: unknown): void {
  const [what, is] = kinds[kind]
  if (!is(value)) throw new AutoprogError(shaped.includes(kind) ? 'SHAPE' : 'CONFIG', expected(what, subject, value))
}

/**
 * Checks the options that a caller of the public functions gives: an object whose fields, where they are given, are of their
 * kinds. `nullable` ones may be null.
 */
export function checkOptions(
  subject: string,
  options: unknown,
  fields: Readonly<Record<string, Kind>>,
  nullable: readonly string[] = [],
): void {
  checkKind('mapping', subject, options)
  for (const [name, kind] of Object.entries(fields)) {
    const value = (options as Record<string, unknown>)[name]
    if (value !== undefined && !(value === null && nullable.includes(name))) checkKind(kind, name, value)
  }
}

/** A text for a message, without its end where it is long. */
export function brief(text: string, longest = 300): string {
  return text.length > longest ? `${text.slice(0, longest - 3)}…` : text
}

/** A long list of things for a message: the first few, each of them brief, and how many more there are. */
export function someOf(things: readonly string[], separator = ', ', most = 6): string {
  const more = things.length - most
  return [...things.slice(0, most).map((thing) => brief(thing)), ...(more > 0 ? [`and ${more} more`] : [])].join(
    separator,
  )
}

const longestName = 100

/** The candidate closest to `name` by edit distance, if any is close enough to be a likely slip of the keyboard. */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  if (name.length > longestName) return undefined
  let best: string | undefined
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1
  for (const candidate of candidates) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const current = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      current.push(Math.min(previous[j]! + 1, current[j - 1]! + 1, substitution))
    }
    previous = current
  }
  return previous[b.length]!
}
