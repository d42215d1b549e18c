// `npm run test:emulated [-- path…]`: builds the addon with the CUDA backend compiled for the host, and runs on it the
// tests that any device has to pass, or those files and folders that are given. --build only builds; --sanitize does both
// under AddressSanitizer, and finds misaligned loads and whole numbers that overflow; --list names the tests. What the
// device is and does is said by AUTOPROG_EMULATED_…, which native/emulator/device.h lists. Needs CMake, a C++ compiler
// and Boost.Context (apt-get install libboost-context-dev).
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'

const require = createRequire(import.meta.url)
const given = process.argv.slice(2)
const sanitize = given.includes('--sanitize')
const paths = given.filter((argument) => !argument.startsWith('--'))
const folder = join('build', sanitize ? 'emulator-sanitized' : 'emulator')
const headers = [require('node-api-headers').include_dir, require('node-addon-api').include_dir]
// Not test/native/boundary: hostile programs read what nobody has written, which the emulator refuses once and for all.
const deviceTests = [
  ...readdirSync('test/ops').map((name) => `test/ops/${name}`),
  'test/models/vit.test.ts',
  'test/session/session.test.ts',
  'test/session/label-maps.test.ts',
  'test/session/mixing.test.ts',
  'test/session/precision.test.ts',
  'test/session/loss-scaling.test.ts',
  'test/session/device.test.ts',
  'test/session/device-memory.test.ts',
  'test/session/profile.test.ts',
  'test/session/lifetime.test.ts',
  'test/session/queue.test.ts',
  'test/session/biases.test.ts',
  'test/native/alignment.test.ts',
  'test/native/emulated-blas.test.ts',
  'test/native/failure.test.ts',
  'test/native/host-arrays.test.ts',
  'test/native/emulated-large.test.ts',
].filter((path) => path.endsWith('.test.ts'))
if (given.includes('--list')) {
  console.log(deviceTests.join('\n'))
  process.exit()
}

function run(command, args, env = {}) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', env: { ...process.env, ...env } })
  if (error) console.error(`${command}: ${error.message}`)
  if (status !== 0) process.exit(status ?? 1)
}

run('cmake', [
  ...['-S', '.', '-B', folder, '-DCMAKE_BUILD_TYPE=Release', '-DAUTOPROG_EMULATOR=ON'],
  ...[`-DAUTOPROG_SANITIZE=${sanitize ? 'ON' : 'OFF'}`, `-DCMAKE_JS_INC=${headers.join(';')}`],
])
run('cmake', ['--build', folder, '--parallel', String(availableParallelism())])
if (!given.includes('--build'))
  run(process.execPath, ['scripts/test.mjs', ...(paths.length > 0 ? paths : deviceTests)], {
    AUTOPROG_ADDON: join(process.cwd(), folder, 'autoprog.node'),
    AUTOPROG_DEVICE: 'cuda-emulated',
    ...(sanitize && {
      LD_PRELOAD: spawnSync('g++', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).stdout.trim(),
      ASAN_OPTIONS: 'detect_leaks=0',
    }),
  })
