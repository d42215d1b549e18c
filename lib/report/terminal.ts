/** What a stream shows: how wide, in which colours, and the one line at the end of a terminal that is written over. */
import type { WriteStream } from 'node:tty'
import { printableLines } from '../errors.js'

/** How text may look. The width is in columns. */
export interface Look {
  readonly width: number
  readonly colors: boolean
}

/** Of files and pipes: lines of any length, no colours. */
export const plain: Look = { width: Number.POSITIVE_INFINITY, colors: false }

export type Output = NodeJS.WritableStream & Partial<Pick<WriteStream, 'isTTY' | 'columns' | 'hasColors'>>

/** A terminal's width, and colours where it has them and NO_COLOR is not set; all else is plain. */
export function lookOf({ isTTY, columns, hasColors }: Output): Look {
  return isTTY ? { width: columns || 80, colors: hasColors?.() ?? false } : plain
}

const codes = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39] } as const

export function paint({ colors }: Look, style: keyof typeof codes, text: string): string {
  const [on, off] = codes[style]
  return colors && text !== '' ? `\x1b[${on}m${text}\x1b[${off}m` : text
}

/** What of a text goes to a terminal as it is: lines, and the codes of `paint`; names of files may hold others. */
const ownCodes = new RegExp(`(\\x1b\\[(?:${Object.values(codes).flat().join('|')})m)`)
const harmless = (text: string) =>
  text
    .split(ownCodes)
    .map((piece, index) => (index % 2 === 1 ? piece : printableLines(piece)))
    .join('')

/** Where a status stands. A process has one terminal, whichever of its streams leads there. */
let shown: Output | undefined
let clearsAtExit = false

/** Writes lines that stay; a status stands below them again only when it is next shown. */
export function printLine(stream: Output, text: string): void {
  clearStatus()
  const line = `${harmless(text)}\n`
  stream.write(stream.isTTY ? `\r\x1b[K${line}` : line) // an echoed ^C goes even where there is no status
}

/** Writes over the status. The cursor goes back to its beginning, so that an echoed ^C is written over too. */
export function showStatus(stream: Output, text: string): void {
  if (shown !== stream) clearStatus()
  if (!clearsAtExit) process.once('exit', clearStatus)
  clearsAtExit = true
  shown = stream
  stream.write(`\r\x1b[K${harmless(text)}\r`)
}

/** Takes the status away; harmless when there is none. */
export function clearStatus(): void {
  shown?.write('\r\x1b[K')
  shown = undefined
}
