/** Text fitted to a width in columns. */
import { stripVTControlCharacters } from 'node:util'

/** Columns of the longest line, without colours. */
export function columnsOf(text: string): number {
  return Math.max(...text.split('\n').map((line) => [...stripVTControlCharacters(line)].length))
}

/** A part of a line; where there is no room the highest `rank` is left out first, 0 never. */
export interface Part {
  readonly rank: number
  readonly text: string
}

/** As many of the parts as fit, in their order. */
export function fitParts(parts: readonly Part[], width: number): string {
  const text = parts.map((part) => part.text).join(separator)
  const highest = Math.max(...parts.map(({ rank }) => rank))
  if (columnsOf(text) <= width || highest === 0) return text
  return fitParts(
    parts.filter(({ rank }) => rank < highest),
    width,
  )
}

const separator = ' · '

/** A figure stays beside its unit: "7 min 02 s" is one word. */
const space = / (?!(?:%|s|min|h|px)(?!\w))(?<!\d (?:min|h) )/

/**
 * Breaks lines that are too long: between parts where there are some, else between words. What goes on is indented. A word
 * that is longer than the width stays whole, so that a path can be copied.
 */
export function wrap(text: string, width: number, indent = 2): string {
  return text
    .split('\n')
    .map((line) => (columnsOf(line) <= width ? line : wrapLine(line, width, indent)))
    .join('\n')
}

function wrapLine(line: string, width: number, indent: number): string {
  const lines: string[] = []
  let current: string | undefined
  const add = (piece: string, glue: string) => {
    const longer = current === undefined ? piece : current + glue + piece
    if (current === undefined || columnsOf(longer) <= width) {
      current = longer
      return
    }
    lines.push(current)
    current = ' '.repeat(indent) + piece
  }
  for (const part of line.split(separator)) {
    if (columnsOf(part) + indent <= width) add(part, separator)
    else {
      const [first = '', ...words] = part.split(space)
      add(first, separator)
      for (const word of words) add(word, ' ')
    }
  }
  return [...lines, current].join('\n')
}
