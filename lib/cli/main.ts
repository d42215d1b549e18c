/** The command line: routes to one file per command. */
import { Command } from 'commander'
import { packageVersion } from '../package.js'
import { annotateCommand } from './annotate.js'
import { checkCommand } from './check.js'
import { reportFailure } from './command.js'
import { compareCommand } from './compare.js'
import { doctorCommand } from './doctor.js'
import { evaluateCommand } from './evaluate.js'
import { exportCommand } from './export.js'
import { flopsCommand } from './flops.js'
import { helpCommand } from './help.js'
import { listCommand } from './list.js'
import { outliveReaders } from './output.js'
import { packCommand } from './pack.js'
import { paperCommand } from './paper.js'
import { predictCommand } from './predict.js'
import { trainCommand } from './train.js'

const program: Command = new Command('autoprog')
  .description('Trains vision models by automated progressive learning (AutoProg).')
  .version(packageVersion())
  .showHelpAfterError('(autoprog --help lists the commands)')
  .helpCommand(false)
  .configureHelp({
    minWidthToWrap: 20,
    subcommandTerm: (command) =>
      [
        command.name(),
        ...command.registeredArguments.map((each) => (each.required ? `<${each.name()}>` : `[${each.name()}]`)),
      ].join(' '),
  })
  .exitOverride()
for (const create of [
  trainCommand,
  compareCommand,
  paperCommand,
  checkCommand,
  packCommand,
  annotateCommand,
  evaluateCommand,
  predictCommand,
  exportCommand,
  flopsCommand,
  listCommand,
  doctorCommand,
  helpCommand,
]) {
  program.addCommand(create())
}

outliveReaders(program)

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = reportFailure(error, process.argv.slice(2))
}
