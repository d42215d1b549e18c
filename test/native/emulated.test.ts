import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, test } from 'node:test'

// The CUDA backend, compiled for the host, has to pass what any device has to pass: each file of those tests in turn.
function emulator(...args: string[]) {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env // these are runs of their own, not part of this one
  const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/emulator.mjs', ...args], {
    ...{ encoding: 'utf8', env, maxBuffer: 2 ** 28 },
  })
  return { status, output: stdout + stderr }
}

function missing(): string | false {
  if (spawnSync('cmake', ['--version']).status !== 0) return 'CMake is missing'
  const { status, output } = emulator('--build')
  if (/Boost\.Context is missing/.test(output)) return 'Boost.Context is missing'
  assert.equal(status, 0, output.slice(-4000))
  return false
}

describe('the tests of devices, on cuda-emulated', { skip: missing() }, () => {
  const files = emulator('--list').output.trim().split('\n')
  for (const file of files)
    test(file, () => {
      const { status, output } = emulator(file)
      assert.equal(status, 0, output)
      assert.match(output, /\n[1-9]\d* passed, 0 failed/)
    })
})
