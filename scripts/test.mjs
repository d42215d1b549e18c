// `npm test [-- path… --match=title]`: runs AVA, whose settings are in package.json, with its arguments. A line a test, and
// a last line `N passed, N failed[, N skipped]`, in which a file that crashes or holds no tests counts as failed.
import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'

const require = createRequire(import.meta.url)
const ava = join(dirname(require.resolve('ava')), 'cli.mjs')
// What tests leave behind goes with it, also where one is killed.
const temporary = mkdtempSync(join(tmpdir(), 'autoprog-tests-'))
chmodSync(temporary, 0o755) // one test is another user
process.on('exit', () => rmSync(temporary, { recursive: true, force: true }))

// TAP is the one output of AVA's that is made to be read by programs.
const runner = spawn(process.execPath, [ava, '--tap', ...process.argv.slice(2)], {
  stdio: ['inherit', 'pipe', 'inherit'],
  env: { ...process.env, TMPDIR: temporary },
})
const ended = new Promise((resolve) => runner.on('close', (status) => resolve(status ?? 1)))
let passed = 0
let failed = 0
let skipped = 0
for await (const line of createInterface({ input: runner.stdout })) {
  const [, not, title] = /^(not )?ok \d+ - (.*)$/.exec(line) ?? []
  if (title === undefined) {
    if (/^\s|^# {3}/.test(line)) console.log(line) // what an assertion found, or a test logged
  } else if (title.endsWith(' # SKIP')) {
    skipped++
    console.log(`- ${title.slice(0, -' # SKIP'.length)}`)
  } else {
    if (not) failed++
    else passed++
    console.log(`${not ? '✖' : '✔'} ${title}`)
  }
}
const status = await ended
if (status !== 0 && failed === 0) failed++ // AVA itself, or no file to run
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
