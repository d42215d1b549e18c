import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'

const script = join(import.meta.dirname, '..', '..', 'scripts', 'test.mjs')
const folder = mkdtempSync(join(tmpdir(), 'autoprog-test-'))
after(() => rmSync(folder, { recursive: true }))
mkdirSync(join(folder, 'test', 'deep'), { recursive: true })
const files: Record<string, string> = {
  'good.test.ts': `
    test('one', () => {})
    test('two', async (t) => { await t.test('three', () => {}) })
    test('later', { skip: true }, () => {})`,
  'deep/bad.test.ts': `
    test('fine', () => {})
    test('parent', async (t) => { await t.test('child', () => { throw new Error('wrong') }) })`,
  'deep/crash.test.ts': `test('crash', () => process.kill(process.pid, 'SIGKILL'))`,
  'empty.test.ts': '',
}
for (const [path, body] of Object.entries(files))
  writeFileSync(join(folder, 'test', path), `const { test } = require('node:test')\n${body}`)

/** Exit status and last line of the runner, as a user would start it: not as the child of a test. */
function run(...filters: string[]) {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const { status, stdout } = spawnSync(process.execPath, [script, ...filters], { cwd: folder, encoding: 'utf8', env })
  return { status, last: stdout.trimEnd().split('\n').at(-1) }
}

test('passed and skipped tests are counted', () => {
  assert.deepEqual(run('good'), { status: 0, last: '3 passed, 0 failed, 1 skipped' })
})

test('a failed test, a crashed file and a file without tests each count once', () => {
  assert.deepEqual(run('bad'), { status: 1, last: '1 passed, 1 failed' })
  assert.deepEqual(run('crash'), { status: 1, last: '0 passed, 1 failed' })
  assert.deepEqual(run('empty'), { status: 1, last: '0 passed, 1 failed' })
  assert.deepEqual(run(), { status: 1, last: '4 passed, 3 failed, 1 skipped' })
})

test('no test at all is a failure', () => {
  assert.deepEqual(run('nothing'), { status: 1, last: '0 passed, 0 failed' })
})
