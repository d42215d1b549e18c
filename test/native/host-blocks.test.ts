import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from '../serial.js'
import { unless } from '../unless.js'

const folder = mkdtempSync(join(tmpdir(), 'autoprog-blocks-'))
test.after.always(() => rmSync(folder, { recursive: true }))

const program = join(folder, 'blocks')
const sources = ['test/native/host-blocks.cpp', 'native/runtime/host-blocks.cpp']
const flags = ['-std=c++20', '-O1', '-g', '-fsanitize=thread', '-pthread', '-Inative']
const built = spawnSync('g++', [...flags, ...sources, '-o', program], { encoding: 'utf8' })

for (const [name, what] of [
  ['reuse', 'are used again where they fit and nobody holds them'],
  ['threads', 'belong to one holder at a time'],
  ['trim', 'are released once they have not been used for a while'],
  ['close', 'are released at the end, those that are held when they are let go'],
  ['exhausted', 'are not lost where the system has no more of them'],
] as const)
  unless(built.error && 'g++ is missing')(`blocks of host memory, under ThreadSanitizer: ${what}`, (t) => {
    t.is(built.status, 0, built.stderr)
    const { stdout, stderr } = spawnSync(program, [name], { encoding: 'utf8' })
    t.is(`${stdout}${stderr}`.trim(), 'ok')
  })
