/** What every command shares: its options, how it prints, how it fails. */
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { AutoprogError } from '../errors.js'

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
    .addHelpText('after', `\nExample:\n${example.replace(/^/gm, '  ')}`)
    .showHelpAfterError(`(autoprog ${name} --help lists the options)`)
    .exitOverride()
}

/** Prints a command's result: the document with `--json`, else its text. */
export function printResult(options: CommonOptions, document: unknown, text: string): void {
  process.stdout.write(options.json ? `${JSON.stringify(document, null, 2)}\n` : `${text}\n`)
}

/** Where a command tells how it is getting on: never where a JSON document goes. */
export function statusStream(options: CommonOptions): NodeJS.WriteStream {
  return options.json ? process.stderr : process.stdout
}

/** Says what went wrong and returns the exit status: 0 after help, 2 for a mistake on the command line, 1 for the rest. */
export function reportFailure(error: unknown, flags: readonly string[]): number {
  // Commander has printed its own message already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  const known = error instanceof AutoprogError
  const message = error instanceof Error ? error.message : String(error)
  const code = known ? error.code : 'INTERNAL'
  const hint = known ? error.hint : 'this is a defect of autoprog; --debug prints where it happened'
  process.stderr.write(`error ${code}: ${message}\n${hint === undefined ? '' : `hint: ${hint}\n`}`)
  if (flags.includes('--debug') && error instanceof Error) process.stderr.write(`${error.stack}\n`)
  if (flags.includes('--json')) {
    process.stdout.write(`${JSON.stringify({ error: { code, message, hint: hint ?? null } }, null, 2)}\n`)
  }
  return 1
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
