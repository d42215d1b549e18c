import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from '../serial.js'
import { unless } from '../unless.js'

const folder = mkdtempSync(join(tmpdir(), 'autoprog-emulator-'))
test.after.always(() => rmSync(folder, { recursive: true }))

const sources = ['self-test', 'block', 'stream', 'memory', 'runtime', 'sanitizer', 'cublasLt'].map(
  (name) => `native/emulator/${name}.cpp`,
)
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
const skip =
  build(plain, ['-O2']) ??
  build(sanitized, ['-O1', '-g', '-fsanitize=address,alignment,signed-integer-overflow']) ??
  false
const clean = { ASAN_OPTIONS: 'detect_leaks=0' }
const run = (name: string, env = {}) =>
  execFileSync(plain, [name], { encoding: 'utf8', env: { ...process.env, ...env } }).trim()

for (const name of ['f16', 'bf16', 'rounding', 'capture', 'refusals', 'events', 'pageable', 'memory', 'warps'])
  unless(skip)(`the emulator: is right about ${name}`, (t) => {
    t.is(run(name), 'ok')
  })

unless(skip)('the emulator: finds a missing barrier under some order of the threads', (t) => {
  const [, right, wrong] = /^with barriers (\d+) of 20 wrong, without (\d+)$/.exec(run('barrier'))!
  t.is(right, '0')
  t.true(Number(wrong) > 10, `only ${wrong} of 20 orders`)
})

unless(skip)(
  'the emulator: finds shared memory that is filled again while others read, under some arrival of the copies',
  (t) => {
    const [, right, wrong] = /^with barriers (\d+) of 20 wrong, without (\d+)$/.exec(run('refilled'))!
    t.is(right, '0')
    t.true(Number(wrong) > 10, `only ${wrong} of 20 orders`)
  },
)

unless(skip)('the emulator: an event orders two streams, and where there is none the kernel comes too early', (t) => {
  t.is(run('ordered'), '0 of 20 wrong')
  t.is(run('unordered'), '20 of 20 wrong')
  for (const AUTOPROG_EMULATED_SEED of ['1', '2', '3']) {
    t.is(run('ordered', { AUTOPROG_EMULATED_SEED }), '0 of 20 wrong')
    const [, wrong] = /^(\d+) of 20 wrong$/.exec(run('unordered', { AUTOPROG_EMULATED_SEED }))!
    t.true(Number(wrong) > 0 && Number(wrong) < 20, wrong) // at random
  }
})

unless(skip)('the emulator: finds host memory that is changed or freed before it was copied', (t) => {
  t.regex(run('changed'), /The host changed its memory while a copy of 128 bytes from it was still to be made/)
  t.is(run('patient'), 'nothing')
  t.regex(run('freed'), /Pinned memory was freed while a copy from or to it was still to be made/)
  t.regex(run('beyond'), /a copy of 128 bytes reaches beyond the device's memory/)
})

unless(skip)('the emulator: refuses grids and blocks that CUDA refuses', (t) => {
  const lines = run('grids').split('\n')
  t.is(lines.length, 4)
  for (const line of lines) t.is(line, 'launch of twice failed: invalid configuration argument')
})

unless(skip)('the emulator: a block has the shared memory of the capability that is asked for', (t) => {
  t.is(run('capability'), '9.0: nothing')
  t.regex(run('capability', { AUTOPROG_EMULATED_CAPABILITY: '8.6' }), /^8\.6: cudaFuncSetAttribute of greedy failed/)
})

unless(skip)('the emulator: large grids are sampled, and an index too large for 32 bits is found', (t) => {
  const large = { AUTOPROG_EMULATED_BLOCKS: '2', AUTOPROG_EMULATED_MEMORY: '100000' }
  t.regex(run('sampled', large), /^nothing; .*an access beyond the operands at 0x\w+ in strided, block \(98303, 0, 0\)/)
})

unless(skip)('the emulator: memory is aligned as CUDA promises, and no better', (t) => {
  t.is(run('generous'), '256 256')
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

unless(skip)('the emulator: sanitized, it finds misaligned loads and whole numbers that overflow', (t) => {
  const run = (name: string) => execFileSync(sanitized, [name], { encoding: 'utf8', env: clean }).trim()
  t.regex(
    run('aligned'),
    /a value that is to be a multiple of 16 lies at 0x\w+8, native\/cuda\/elements\.h:\d+ in four, block \(0, 0, 0\), thread \(\d, 0, 0\)/,
  )
  t.regex(
    run('overflow'),
    /a whole number overflows, native\/emulator\/planted\.h:\d+ in strided, block \(\d, 0, 0\), thread \(\d+, 0, 0\)/,
  )
})

unless(skip)('the emulator: is clean under AddressSanitizer otherwise', (t) => {
  for (const name of ['f16', 'capture', 'events', 'memory', 'warps'])
    t.is(execFileSync(sanitized, [name], { encoding: 'utf8', env: clean }).trim(), 'ok')
})
