import { spawnSync } from 'node:child_process'
import { openDevice } from '../../lib/native.js'
import { checkError } from '../error.js'
import { test } from '../serial.js'
import { unless } from '../unless.js'

// The limit comes once the process stands: enough addresses for some stacks, not for a thousand.
const code = `
  import { execFileSync } from 'node:child_process'
  import { readFileSync } from 'node:fs'
  import { openDevice } from ${JSON.stringify(new URL('../../lib/native.ts', import.meta.url).href)}
  await openDevice('cpu', { threads: 2 }).then((device) => device.close())
  const pages = Number(readFileSync('/proc/self/statm', 'utf8').split(' ')[0])
  execFileSync('prlimit', ['--pid', process.pid, '--as=' + (pages * 4096 + 2 ** 30) + ':'])
  const { code, message, hint } = await openDevice('cpu', { threads: 1024 }).catch((error) => error)
  const small = await openDevice('cpu', { threads: 2 })
  const seconds = await small.measureGemm(64, 64, 64)
  await small.close()
  console.log(JSON.stringify({ code, message, hint, works: seconds > 0 }))
`

unless(spawnSync('prlimit', ['--version']).error && 'prlimit is missing')(
  'threads that the system does not start are an error, and fewer still work',
  (t) => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '--eval', code],
      { encoding: 'utf8' },
    )
    t.is(status, 0, stderr)
    const { works, ...error } = JSON.parse(stdout)
    checkError(t, error, {
      code: 'DEVICE',
      message: /^Only \d+ of 1024 threads could be started: Resource temporarily unavailable$/,
      hint: /Ask for fewer threads than 1024, or let the process have more/,
    })
    t.true(works)
  },
)

test('a number of threads that none can have is refused', async (t) => {
  for (const threads of [0, -1, 1.5, 1025, Number.NaN, '2', null, 2n, Symbol('2'), {}])
    checkError(t, await t.throwsAsync(openDevice('cpu', { threads: threads as number })), {
      code: 'CONFIG',
      message: /^Expected auto or an integer from 1 to 1024 for threads of a device but received /,
    })
})
