/** What every command shares: its options, how it prints, how it fails. */
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { AutoprogError } from '../errors.js'
import { wrap } from '../report/fit.js'
import { type Look, lookOf, paint, printLine } from '../report/terminal.js'
import { noticeText } from '../report/text.js'

export interface CommonOptions {
  json?: boolean
  debug?: boolean
}

/** A command with `--json`, `--debug` and an example under its help. */
export function createCommand(name: string, description: string, example: string): Command {
  return new Command(name)
    .description(description)
    .option('--json', 'print one JSON document on stdout, everything else on stderr')
    .option('--debug', 'print the stack of an error')
    .addHelpText('after', `\nExample:\n${example.replace(/^(?=autoprog )/gm, 'npx ').replace(/^/gm, '  ')}`)
    .showHelpAfterError(`(autoprog ${name} --help lists the options)`)
    .exitOverride()
}

/** An argument as a shell takes it. */
export function shellWord(text: string): string {
  return /^[\w./:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

/** Prints a command's result: the document with `--json`, else its text. */
export function printResult(options: CommonOptions, document: unknown, text: string): void {
  printLine(process.stdout, options.json ? JSON.stringify(document, null, 2) : text)
}

/** Where a command tells how it is getting on: never where a JSON document goes. */
export function statusStream(options: CommonOptions): NodeJS.WriteStream {
  return options.json ? process.stderr : process.stdout
}

/** Prints what a person should know besides the result. */
export function printNotices(stream: NodeJS.WriteStream, notices: readonly string[]): void {
  for (const notice of notices) printLine(stream, noticeText(notice, lookOf(stream)))
}

/** Says what went wrong and returns the exit status: 0 after help, 2 for a mistake on the command line, 1 for the rest. */
export function reportFailure(error: unknown, flags: readonly string[]): number {
  // Commander has printed its own message already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  const known = error instanceof AutoprogError
  const message = error instanceof Error ? error.message : String(error)
  const code = known ? error.code : 'INTERNAL'
  const hint = known ? error.hint : 'this is a defect of autoprog; --debug prints where it happened'
  printLine(process.stderr, failureText({ code, message, hint }, lookOf(process.stderr)))
  if (flags.includes('--debug') && error instanceof Error) printLine(process.stderr, `${error.stack}`)
  if (flags.includes('--json'))
    printLine(process.stdout, JSON.stringify({ error: { code, message, hint: hint ?? null } }, null, 2))
  return 1
}

/** A line with a command is not broken, so that it can be copied. */
export function failureText(
  failure: { code: string; message: string; hint?: string | null | undefined },
  look: Look,
): string {
  const { code, message, hint } = failure
  const fitted = (text: string) => (/\b(npx|npm|apt-get|brew) /.test(text) ? text : wrap(text, look.width))
  const kind = `error ${code}:`
  const told = fitted(`${kind} ${message}`).slice(kind.length)
  return paint(look, 'red', kind) + told + (hint ? `\n${paint(look, 'dim', fitted(`hint: ${hint}`))}` : '')
}

/** Parses a number on the command line; its range is the recipe's matter. */
export function parseNumber(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError(`Expected a number, not "${text}".`)
  return value
}

/** Parses "0,1,2". */
export function parseNumbers(text: string): number[] {
  return text.split(',').map(parseNumber)
}
