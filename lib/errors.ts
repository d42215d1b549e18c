/** What kind of thing went wrong; stable, so that programs can react to it. */
export type ErrorCode = 'CONFIG' | 'DATA' | 'IMAGE' | 'SHAPE' | 'DEVICE' | 'MEMORY' | 'NUMERIC' | 'CHECKPOINT' | 'BUILD'

/** The one error class: `message` names the thing and the value, `hint` says what to do about it. */
export class AutoprogError extends Error {
  readonly code: ErrorCode
  readonly hint: string | undefined

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'AutoprogError'
    this.code = code
    this.hint = options.hint
  }
}

/** Words a value for a message, short and on one line: `"abc" (string)`, `[1, 2] (array)`. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (ArrayBuffer.isView(value)) {
    const length = 'length' in value ? Number(value.length) : value.byteLength
    return `${value.constructor.name} of length ${length}`
  }
  if (typeof value === 'string') return `"${value.length > 60 ? `${value.slice(0, 57)}…` : value}" (string)`
  if (Array.isArray(value))
    return `[${value.slice(0, 6).map(String).join(', ')}${value.length > 6 ? ', …' : ''}] (array)`
  if (typeof value === 'object') return `an object with keys ${Object.keys(value).slice(0, 6).join(', ') || '(none)'}`
  return `${String(value)} (${typeof value})`
}

/** The one wording of a wrong value: "Expected a positive integer for batch but received 0 (number)". */
export function expected(what: string, subject: string, received: unknown): string {
  return `Expected ${what} for ${subject} but received ${describe(received)}`
}

/** The candidate closest to `name` by edit distance, if any is close enough to be a likely slip of the keyboard. */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
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
