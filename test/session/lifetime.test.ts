import { spawnSync } from 'node:child_process'
import { test } from '../serial.js'

// An emulated device names on stderr what is left at the end of the process. Where that ends by `exit`, Node deletes no
// handles: memory goes with the process then, but graphs have to be gone before.
for (const [ending, status, output] of [
  ['return', 0, /^$/],
  ['exit', 3, /^(emulator: 0 graphs, .*\n)?$/],
  ['throw', 1, /Error: thrown on purpose\n[\s\S]*\nNode\.js v.*\n(emulator: 0 graphs, .*\n)?$/],
  ['worker', 0, /^$/],
] as const)
  test(`a session that nobody closed ends with its process: ${ending}`, (t) => {
    const run = spawnSync(process.execPath, ['--import', 'tsx', 'test/session/abandoned.ts', ending], {
      encoding: 'utf8',
    })
    t.is(run.status, status, run.stderr)
    t.regex(run.stderr, output)
  })
