/** How two recipes differ, by value: the order of keys does not count. */
import { isDeepStrictEqual } from 'node:util'

/** One line a difference, by its dotted key: `epochs: 20 and 21`; empty where the recipes are the same. */
export function recipeDifferences(a: unknown, b: unknown): string[] {
  return differencesAt(a, b, '')
}

function differencesAt(a: unknown, b: unknown, path: string): string[] {
  if (isDeepStrictEqual(a, b)) return []
  if (!isMapping(a) || !isMapping(b)) return [`${path || 'the recipe'}: ${shown(a)} and ${shown(b)}`]
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort()
  return keys.flatMap((key) => differencesAt(a[key], b[key], path === '' ? key : `${path}.${key}`))
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}

const shown = (value: unknown) => (value === undefined ? 'none' : JSON.stringify(value))
