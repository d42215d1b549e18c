/** What becomes of a command whose output nobody can take any more. */
import type { Command } from 'commander'
import { printLine } from '../report/terminal.js'

/** What they do lies in files, and is done to its end. */
const lasting = new Set(['train', 'compare', 'paper', 'pack', 'annotate'])

/**
 * A reader that leaves early (`autoprog train | head`) stops no work that lasts, and ends any other command with the status
 * of one that SIGPIPE ended. Output that cannot be written for another reason, such as a full disk, is an error of every
 * command, at its end.
 */
export function outliveReaders(program: Command): void {
  let lasts = false
  program.hook('preAction', (_, command) => {
    lasts = lasting.has(command.name()) || command.opts().sortInto !== undefined
  })
  let failed = false
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED') {
      if (!lasts) process.exit(128 + 13)
      return
    }
    if (failed) return
    failed = true
    process.on('exit', (status) => {
      process.exitCode = status || 1
    })
    printLine(process.stderr, `error: Cannot write the output: ${error.message}`)
  })
  // There is nowhere left to tell.
  process.stderr.on('error', () => {})
}
