/** `autoprog help`: of one command, or of all; a mistyped name is a mistake on the command line as elsewhere. */
import { Command } from 'commander'
import { nearest } from '../errors.js'

/** In place of Commander's own, which answers a mistyped name with the help of all. */
export function helpCommand(): Command {
  return new Command('help')
    .description('help of a command')
    .argument('[command]', 'command name')
    .exitOverride()
    .action((name: string | undefined, _options: object, self: Command) => {
      const program = self.parent!
      if (name === undefined) return program.help()
      const command = program.commands.find((each) => each.name() === name)
      if (command !== undefined) return command.help()
      const names = program.commands.map((each) => each.name())
      const guess = nearest(name, names)
      return program.error(`error: unknown command '${name}'${guess === undefined ? '' : `\n(Did you mean ${guess}?)`}`)
    })
}
