import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'

const folder = mkdtempSync(join(tmpdir(), 'autoprog-emulator-'))
after(() => rmSync(folder, { recursive: true }))

const sources = ['self-test', 'block', 'runtime', 'cublasLt'].map((name) => `native/emulator/${name}.cpp`)
const common = ['-std=c++20', '-DAUTOPROG_EMULATOR', '-Inative', '-Wno-unknown-pragmas', ...sources, '-lboost_context']

/** The compiler's complaint where the emulator cannot be built here. */
function build(program: string, flags: readonly string[]): string | undefined {
  const { status, stderr, error } = spawnSync('g++', [...flags, ...common, '-o', program], { encoding: 'utf8' })
  if (error) return 'g++ is missing'
  if (status !== 0 && /boost\/context|-lboost_context/.test(stderr)) return 'Boost.Context is missing'
  assert.equal(status, 0, stderr)
  return undefined
}

const plain = join(folder, 'plain')
const sanitized = join(folder, 'sanitized')
const skip = build(plain, ['-O2']) ?? build(sanitized, ['-O1', '-g', '-fsanitize=address']) ?? false
const run = (name: string) => execFileSync(plain, [name], { encoding: 'utf8' }).trim()

describe('the emulator', { skip }, () => {
  for (const name of ['f16', 'bf16', 'rounding', 'capture', 'memory', 'warps'])
    test(`is right about ${name}`, () => {
      assert.equal(run(name), 'ok')
    })

  test('finds a missing barrier under some order of the threads', () => {
    const [, right, wrong] = /^with barriers (\d+) of 20 wrong, without (\d+)$/.exec(run('barrier'))!
    assert.equal(right, '0')
    assert.ok(Number(wrong) > 10, `only ${wrong} of 20 orders`)
  })

  test('names kernel, block and thread of a barrier that some threads never reach', () => {
    assert.match(
      run('divergent'),
      /Threads wait for ever in divergent, block \(0, 0, 0\): 32 have returned, thread \(0, 0, 0\) is at __syncthreads/,
    )
  })

  test('names the operations at which lanes of a warp meet wrongly', () => {
    assert.match(run('mixed'), /meet at different operations: __shfl_\w+_sync and __shfl_\w+_sync in mixed, block \(0,/)
  })

  test('finds what was read before it was written', () => {
    assert.match(run('unwritten'), /value 0 of output 0 of copy holds the poison .*: its last kernel was unwritten/)
  })

  test('refuses more shared memory than there is', () => {
    assert.match(run('shared'), /cudaFuncSetAttribute of greedy failed/)
  })

  test('under AddressSanitizer finds an access beyond a tile, and names kernel, block and thread', () => {
    const { status, stderr } = spawnSync(sanitized, ['edge'], { encoding: 'utf8' })
    assert.notEqual(status, 0)
    assert.match(stderr, /heap-buffer-overflow/)
    assert.match(stderr, /that of wrong edge, block \(3, 0, 0\), thread \(4, 0, 0\)/)
  })

  test('is clean under AddressSanitizer otherwise', () => {
    for (const name of ['f16', 'capture', 'memory', 'warps'])
      assert.equal(
        execFileSync(sanitized, [name], { encoding: 'utf8', env: { ASAN_OPTIONS: 'detect_leaks=0' } }).trim(),
        'ok',
      )
  })
})
