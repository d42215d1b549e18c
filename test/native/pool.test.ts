import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from '../serial.js'
import { unless } from '../unless.js'

const folder = mkdtempSync(join(tmpdir(), 'autoprog-pool-'))
test.after.always(() => rmSync(folder, { recursive: true }))

const program = join(folder, 'pool')
const sources = ['test/native/pool.cpp', 'native/runtime/pool.cpp']
const flags = ['-std=c++20', '-O1', '-g', '-fsanitize=thread', '-pthread', '-Inative']
const built = spawnSync('g++', [...flags, ...sources, '-o', program], { encoding: 'utf8' })

for (const [name, what] of [
  ['once', 'does every part of a loop once, for any number of threads'],
  ['failure', 'throws what a part threw, after all others'],
  ['stretches', 'has every thread begin with a stretch of its own, in the order asked for'],
  ['taken over', 'takes parts over from a thread that is held up'],
] as const)
  unless(built.error && 'g++ is missing')(`the pool of threads, under ThreadSanitizer: ${what}`, (t) => {
    t.is(built.status, 0, built.stderr)
    const { stdout, stderr } = spawnSync(program, [name], { encoding: 'utf8' })
    t.is(`${stdout}${stderr}`.trim(), 'ok')
  })
