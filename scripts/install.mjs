// npm's install script: finds or builds the native addon, build/Release/autoprog.node.
// --force builds although a current addon is there; --node-gyp builds without CMake; --without-onednn uses plain kernels.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
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
  writeFileSync,
  writeSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
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

/** Runs the commands into the log file, and tells how far the compiler has come; true if all went well. */
async function runAll(commands) {
  mkdirSync(dirname(log), { recursive: true })
  const file = openSync(log, 'w')
  const tell = followCompiler()
  try {
    for (const [program, ...args] of commands) {
      const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
      for (const output of [child.stdout, child.stderr]) {
        output.on('data', (data) => writeSync(file, data))
        createInterface({ input: output }).on('line', tell)
      }
      const [status] = await once(child, 'close').catch((error) => [error])
      if (status !== 0) return false
    }
    return true
  } finally {
    closeSync(file)
  }
}

/** Reads the lines of make, ninja or node-gyp, and says at every tenth how many files are done. */
function followCompiler() {
  let all = countSources(readFileSync(join(root, 'native', 'sources.txt'), 'utf8').match(/^[a-z]\S*/gm))
  let done = 0
  let told = 0
  return (line) => {
    if (/^autoprog: with the CUDA backend/.test(line)) all += countSources(['cuda'])
    const counted = /^\[(\d+)\/(\d+)\]/.exec(line) // by ninja
    if (counted) [done, all] = [Number(counted[1]), Number(counted[2])]
    else if (/Building (CXX|CUDA) object|^\s*CXX\(target\)/.test(line)) done++
    else return
    if (done - told < all / 10) return
    told = done
    say(`compiled ${done} of ${all} files`)
  }
}

function countSources(folders) {
  const files = folders.flatMap((folder) => readdirSync(join(root, 'native', folder)))
  return files.filter((file) => /\.(cpp|cu)$/.test(file)).length
}

/** What was found out is kept beside the addon, for `autoprog doctor`. */
function record(tool, notes) {
  const cuda = notes.find((note) => note.includes('CUDA'))?.replace('autoprog: ', '') ?? null
  writeFileSync(join(root, 'build', 'install.json'), `${JSON.stringify({ tool, cuda, notes }, null, 2)}\n`)
}

function fail(reason) {
  say(`THE NATIVE ADDON WAS NOT BUILT: ${reason}. To mend it: ${remedy}`)
  process.exit(1)
}

async function build() {
  const compiler = process.env.CXX?.split(' ')[0]
  const hasCompiler = compiler ? onPath(compiler) || existsSync(compiler) : ['c++', 'g++', 'clang++'].some(onPath)
  if (!hasCompiler) fail(`no C++ compiler${compiler ? ` ${compiler}` : ''} is installed`)
  const useCMake = onPath('cmake') && !options['node-gyp']
  const commands = useCMake ? withCMake(true) : withNodeGyp()
  const tool = useCMake ? 'cmake-js' : 'node-gyp'
  const cores = availableParallelism()
  say(`building the native addon with ${tool} on ${cores} cores (two take three minutes, more with a CUDA toolkit)`)
  const start = Date.now()
  let unusable
  let built = (await runAll(commands)) && existsSync(addon)
  if (!built && /\.cu\b|nvcc|CMAKE_CUDA/.test(readFileSync(log, 'utf8'))) {
    const cudaLog = join(root, 'build', 'cuda.log')
    renameSync(log, cudaLog)
    say(`the CUDA backend does not build with this toolkit, see ${cudaLog}; building for the CPU alone`)
    unusable = `autoprog: no CUDA backend: this toolkit does not compile it, see ${cudaLog}`
    built = (await runAll(withCMake(false))) && existsSync(addon)
  }
  const output = readFileSync(log, 'utf8')
  const notes = [...new Set(output.match(/^autoprog: .*$/gm))] // CMake may configure twice
  if (!useCMake) notes.push('autoprog: no CUDA backend: built by node-gyp, which has none; install CMake to have it')
  for (const note of notes) console.error(note)
  if (!built) {
    if (notes.some((note) => note.startsWith('autoprog: Highway'))) fail('Highway is missing')
    console.error(output.trimEnd().split('\n').slice(-30).join('\n'))
    fail(`${tool} failed, see ${log}`)
  }
  record(tool, unusable === undefined ? notes : [unusable, ...notes])
  utimesSync(addon, start / 1000, start / 1000) // the linker may have had nothing to do
  say(`built ${addon} in ${((Date.now() - start) / 1000).toFixed(0)} s`)
}

const found = options.force ? undefined : prebuilt()
if (found) say(`using ${found}`)
else if (options.force || !isCurrent()) await build()
