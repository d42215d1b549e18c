import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from '../serial.js'

// A project of its own, with the settings of this one.
const root = join(import.meta.dirname, '..', '..')
const folder = mkdtempSync(join(tmpdir(), 'autoprog-test-'))
test.after.always(() => rmSync(folder, { recursive: true }))
symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }))
copyFileSync(join(root, 'ava.config.mjs'), join(folder, 'ava.config.mjs'))
const files: Record<string, string> = {
  'good.test.ts': `
    test('one', (t) => t.pass())
    test('two', async (t) => t.is(await Promise.resolve(1 as number), 1))
    test.skip('later', (t) => t.fail())`,
  'deep/bad.test.ts': `
    test('fine', (t) => t.pass())
    test('wrong', (t) => t.is(1, 2))`,
  'deep/vast.test.ts': `
    import { same } from '${join(root, 'test', 'same.ts')}'
    test('vast', (t) => same(t, new Map([['a', new Float32Array(1e7)]]), new Map([['a', new Float32Array(1e7).fill(1, 5)]])))`,
  'deep/crash.test.ts': `test('crash', () => process.kill(process.pid, 'SIGKILL'))`,
  'empty.test.ts': '',
}
mkdirSync(join(folder, 'test', 'deep'), { recursive: true })
for (const [path, body] of Object.entries(files))
  writeFileSync(join(folder, 'test', path), `import test from 'ava'\n${body}`)

/** Exit status, output and last line of the runner, as a user would start it: not as the child of a test. */
function run(...args: string[]) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => name !== 'NODE_OPTIONS'))
  const script = join(root, 'scripts', 'test.mjs')
  const { status, stdout } = spawnSync(process.execPath, [script, ...args], { cwd: folder, encoding: 'utf8', env })
  return { output: stdout, end: [status, stdout.trimEnd().split('\n').at(-1)] }
}

test('passed and skipped tests are counted', (t) => {
  t.deepEqual(run('test/good.test.ts').end, [0, '2 passed, 0 failed, 1 skipped'])
})

test('a failed test, a crashed file and a file without tests each count once', (t) => {
  t.deepEqual(run('test/deep/bad.test.ts').end, [1, '1 passed, 1 failed'])
  t.deepEqual(run('test/deep/crash.test.ts').end, [1, '0 passed, 1 failed'])
  t.deepEqual(run('test/empty.test.ts').end, [1, '0 passed, 1 failed'])
})

test('a folder and a pattern of titles choose tests', (t) => {
  t.deepEqual(run('test/deep').end, [1, '1 passed, 3 failed'])
  t.deepEqual(run('test/good.test.ts', '--match=one').end, [0, '1 passed, 0 failed'])
})

test('no test at all is a failure', (t) => {
  t.deepEqual(run('test/nothing.test.ts').end, [1, '0 passed, 1 failed'])
})

test('what differs in ten million values is said in a line', (t) => {
  const { output, end } = run('test/deep/vast.test.ts')
  t.deepEqual(end, [1, '0 passed, 1 failed'])
  t.regex(output, /\.a\[5\]: 0 instead of 1 \(9999995 of 10000000 values differ\)/)
  t.true(output.length < 4_000, output)
})
