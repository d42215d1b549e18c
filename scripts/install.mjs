// npm's install script: finds or builds the native addon, build/Release/autoprog.node.
// --force builds although a current addon is there; --node-gyp builds without CMake; --without-onednn uses plain kernels.
import { spawnSync } from 'node:child_process'
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const addon = join(root, 'build', 'Release', 'autoprog.node')
const log = join(root, 'build', 'install.log')
const require = createRequire(import.meta.url)

const { values: options } = parseArgs({
  options: {
    force: { type: 'boolean', default: false },
    'node-gyp': { type: 'boolean', default: false },
    'without-onednn': { type: 'boolean', default: false },
  },
})

const say = (message) => console.error(`autoprog: ${message}`)

/** How to mend a missing addon: a checkout has the TypeScript to build too. */
const remedy = `${
  process.platform === 'darwin'
    ? 'xcode-select --install; brew install cmake highway onednn libomp'
    : 'apt-get install build-essential cmake libhwy-dev libdnnl-dev'
} && npm ${existsSync(join(root, 'tsconfig.build.json')) ? 'run build' : 'rebuild autoprog'}`

/** The optional package that carries the addon of this platform, e.g. @autoprog/linux-x64-glibc. */
function prebuilt() {
  const report = process.platform === 'linux' ? process.report.getReport() : undefined
  const libc = report && (report.header.glibcVersionRuntime ? '-glibc' : '-musl')
  const name = `@autoprog/${process.platform}-${process.arch}${libc ?? ''}`
  try {
    require.resolve(`${name}/autoprog.node`)
    return name
  } catch {
    return undefined
  }
}

function isCurrent() {
  if (!existsSync(addon)) return false
  const built = statSync(addon).mtimeMs
  const native = readdirSync(join(root, 'native'), { recursive: true }).map((path) => join('native', path))
  return ['CMakeLists.txt', 'binding.gyp', ...native].every((path) => statSync(join(root, path)).mtimeMs <= built)
}

function onPath(program) {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** cmake-js, as a list of commands. CMake's cache of what it once found is dropped: objects that are current stay. */
function withCMake(cuda) {
  rmSync(join(root, 'build', 'CMakeCache.txt'), { force: true })
  const run = [process.execPath, require.resolve('cmake-js/bin/cmake-js')]
  const oneDNN = options['without-onednn'] ? 'OFF' : 'ON'
  return [
    [...run, 'configure', `--CDAUTOPROG_ONEDNN=${oneDNN}`, `--CDAUTOPROG_CUDA=${cuda ? 'ON' : 'OFF'}`],
    [...run, 'build', '--parallel', String(availableParallelism())],
  ]
}

/** Node's headers are used from beside Node where they are there. */
function withNodeGyp() {
  const run = [process.execPath, require.resolve('node-gyp/bin/node-gyp.js')]
  const prefix = dirname(dirname(process.execPath))
  const headers = existsSync(join(prefix, 'include', 'node', 'node_api.h')) ? [`--nodedir=${prefix}`] : []
  const oneDNN = options['without-onednn'] ? ['--', '-Donednn=0'] : []
  return [
    [...run, 'configure', ...headers, ...oneDNN],
    [...run, 'build', '--jobs', String(availableParallelism())],
  ]
}

/** Runs the commands into the log file; true if all went well. */
function runAll(commands) {
  mkdirSync(dirname(log), { recursive: true })
  const file = openSync(log, 'w')
  try {
    return commands.every(
      ([program, ...args]) => spawnSync(program, args, { cwd: root, stdio: ['ignore', file, file] }).status === 0,
    )
  } finally {
    closeSync(file)
  }
}

function fail(reason) {
  say(`THE NATIVE ADDON WAS NOT BUILT: ${reason}. To mend it: ${remedy}`)
  process.exit(1)
}

function build() {
  const compiler = process.env.CXX?.split(' ')[0]
  const hasCompiler = compiler ? onPath(compiler) || existsSync(compiler) : ['c++', 'g++', 'clang++'].some(onPath)
  if (!hasCompiler) fail(`no C++ compiler${compiler ? ` ${compiler}` : ''} is installed`)
  const useCMake = onPath('cmake') && !options['node-gyp']
  const commands = useCMake ? withCMake(true) : withNodeGyp()
  const tool = useCMake ? 'cmake-js' : 'node-gyp'
  say(`building the native addon with ${tool} (about a minute, some more with a CUDA toolkit)`)
  const start = Date.now()
  let built = runAll(commands) && existsSync(addon)
  if (!built && /\.cu\b|nvcc|CMAKE_CUDA/.test(readFileSync(log, 'utf8'))) {
    const cudaLog = join(root, 'build', 'cuda.log')
    renameSync(log, cudaLog)
    say(`the CUDA backend does not build with this toolkit, see ${cudaLog}; building for the CPU alone`)
    built = runAll(withCMake(false)) && existsSync(addon)
  }
  const output = readFileSync(log, 'utf8')
  const notes = [...new Set(output.match(/^autoprog: .*$/gm))] // CMake may configure twice
  for (const note of notes) console.error(note)
  if (!built) {
    if (notes.some((note) => note.startsWith('autoprog: Highway'))) fail('Highway is missing')
    console.error(output.trimEnd().split('\n').slice(-30).join('\n'))
    fail(`${tool} failed, see ${log}`)
  }
  utimesSync(addon, start / 1000, start / 1000) // the linker may have had nothing to do
  say(`built ${addon} in ${((Date.now() - start) / 1000).toFixed(0)} s`)
}

const found = options.force ? undefined : prebuilt()
if (found) say(`using ${found}`)
else if (options.force || !isCurrent()) build()
