/** The command line: routes to one file per command. */
import { Command } from 'commander'
import { annotateCommand } from './annotate.js'
import { checkCommand } from './check.js'
import { reportFailure } from './command.js'
import { compareCommand } from './compare.js'
import { doctorCommand } from './doctor.js'
import { evaluateCommand } from './evaluate.js'
import { flopsCommand } from './flops.js'
import { packCommand } from './pack.js'
import { packageVersion } from './package.js'
import { paperCommand } from './paper.js'
import { trainCommand } from './train.js'

const program = new Command('autoprog')
  .description('Trains vision transformers by automated progressive learning (AutoProg).')
  .version(packageVersion())
  .showHelpAfterError('(autoprog --help lists the commands)')
  .exitOverride()
for (const create of [
  trainCommand,
  compareCommand,
  paperCommand,
  checkCommand,
  packCommand,
  annotateCommand,
  evaluateCommand,
  flopsCommand,
  doctorCommand,
]) {
  program.addCommand(create())
}

// A reader that leaves early (`autoprog train | head`) stops nothing.
process.stdout.on('error', () => {})

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = reportFailure(error, process.argv.slice(2))
}
