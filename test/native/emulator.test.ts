import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from '../serial.js'
import { unless } from '../unless.js'

const folder = mkdtempSync(join(tmpdir(), 'autoprog-emulator-'))
test.after.always(() => rmSync(folder, { recursive: true }))

const sources = ['self-test', 'block', 'runtime', 'cublasLt'].map((name) => `native/emulator/${name}.cpp`)
const common = ['-std=c++20', '-DAUTOPROG_EMULATOR', '-Inative', '-Wno-unknown-pragmas', ...sources, '-lboost_context']

/** The compiler's complaint where the emulator cannot be built here. */
function build(program: string, flags: readonly string[]): string | undefined {
  const { status, stderr, error } = spawnSync('g++', [...flags, ...common, '-o', program], { encoding: 'utf8' })
  if (error) return 'g++ is missing'
  if (status !== 0 && /boost\/context|-lboost_context/.test(stderr)) return 'Boost.Context is missing'
  if (status !== 0) throw new Error(stderr)
  return undefined
}

const plain = join(folder, 'plain')
const sanitized = join(folder, 'sanitized')
const skip = build(plain, ['-O2']) ?? build(sanitized, ['-O1', '-g', '-fsanitize=address']) ?? false
const run = (name: string) => execFileSync(plain, [name], { encoding: 'utf8' }).trim()

for (const name of ['f16', 'bf16', 'rounding', 'capture', 'memory', 'warps'])
  unless(skip)(`the emulator: is right about ${name}`, (t) => {
    t.is(run(name), 'ok')
  })

unless(skip)('the emulator: finds a missing barrier under some order of the threads', (t) => {
  const [, right, wrong] = /^with barriers (\d+) of 20 wrong, without (\d+)$/.exec(run('barrier'))!
  t.is(right, '0')
  t.true(Number(wrong) > 10, `only ${wrong} of 20 orders`)
})

unless(skip)('the emulator: names kernel, block and thread of a barrier that some threads never reach', (t) => {
  t.regex(
    run('divergent'),
    /Threads wait for ever in divergent, block \(0, 0, 0\): 32 have returned, thread \(0, 0, 0\) is at __syncthreads/,
  )
})

unless(skip)('the emulator: names the operations at which lanes of a warp meet wrongly', (t) => {
  t.regex(run('mixed'), /meet at different operations: __shfl_\w+_sync and __shfl_\w+_sync in mixed, block \(0,/)
})

unless(skip)('the emulator: finds what was read before it was written', (t) => {
  t.regex(run('unwritten'), /value 0 of output 0 of copy holds the poison .*: its last kernel was unwritten/)
})

unless(skip)('the emulator: refuses more shared memory than there is', (t) => {
  t.regex(run('shared'), /cudaFuncSetAttribute of greedy failed/)
})

unless(skip)(
  'the emulator: under AddressSanitizer finds an access beyond a tile, and names kernel, block and thread',
  (t) => {
    const { status, stderr } = spawnSync(sanitized, ['edge'], { encoding: 'utf8' })
    t.not(status, 0)
    t.regex(stderr, /heap-buffer-overflow/)
    t.regex(stderr, /that of wrong edge, block \(3, 0, 0\), thread \(4, 0, 0\)/)
  },
)

unless(skip)('the emulator: is clean under AddressSanitizer otherwise', (t) => {
  for (const name of ['f16', 'capture', 'memory', 'warps'])
    t.is(execFileSync(sanitized, [name], { encoding: 'utf8', env: { ASAN_OPTIONS: 'detect_leaks=0' } }).trim(), 'ok')
})
