import { spawnSync } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from '../serial.js'

const root = join(import.meta.dirname, '..', '..')
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'autoprog-install-')))
test.after.always(() => rmSync(folder, { recursive: true }))
for (const path of ['package.json', 'CMakeLists.txt', 'binding.gyp', 'native', 'scripts'])
  cpSync(join(root, path), join(folder, path), { recursive: true })

function install(args: string[] = [], path = join(folder, 'nothing')) {
  const options = { cwd: folder, encoding: 'utf8', env: { PATH: path } } as const
  const { status, stdout, stderr } = spawnSync(process.execPath, [join('scripts', 'install.mjs'), ...args], options)
  return { status, stdout, stderr }
}

test('without a compiler the install fails and says in one line what to install', (t) => {
  const { status, stderr } = install()
  t.is(status, 1)
  t.regex(stderr, /^autoprog: THE NATIVE ADDON WAS NOT BUILT: no C\+\+ compiler is installed\. To mend it: .+\n$/)
})

test('an addon newer than its sources is kept, an older one is not', (t) => {
  const addon = join(folder, 'build', 'Release', 'autoprog.node')
  mkdirSync(join(folder, 'build', 'Release'), { recursive: true })
  writeFileSync(addon, '')
  const future = Date.now() / 1000 + 60
  utimesSync(addon, future, future)
  t.deepEqual(install(), { status: 0, stdout: '', stderr: '' })
  t.is(install(['--force']).status, 1)
  utimesSync(join(folder, 'native', 'sources.txt'), future + 1, future + 1)
  t.is(install().status, 1)
})

/** Installs with a compiler, a CMake and a cmake-js that only say so many lines, and fail if there is a CUDA file to compile. */
function installSaying(lines: string[]) {
  const tools = join(folder, 'tools')
  mkdirSync(tools, { recursive: true })
  for (const tool of ['c++', 'cmake']) writeFileSync(join(tools, tool), '#!/bin/sh\n', { mode: 0o755 })
  mkdirSync(join(folder, 'node_modules', 'cmake-js', 'bin'), { recursive: true })
  const standIn = `
    const [mode, ...options] = process.argv.slice(2)
    const cuda = options.includes('--CDAUTOPROG_CUDA=ON')
    if (mode === 'configure') require('fs').writeFileSync('build/cuda', String(cuda))
    if (mode === 'configure' && !cuda) process.exit(0)
    if (mode === 'build' && require('fs').readFileSync('build/cuda', 'utf8') === 'true') {
      const lines = ${JSON.stringify(lines)}
      console.log(lines.join('\\n'))
      if (lines.some((line) => line.includes('.cu: error'))) process.exit(1)
    }
    require('fs').writeFileSync('build/Release/autoprog.node', '')`
  writeFileSync(join(folder, 'node_modules', 'cmake-js', 'bin', 'cmake-js'), standIn)
  const { status, stderr } = install(['--force'], tools)
  const found = JSON.parse(readFileSync(join(folder, 'build', 'install.json'), 'utf8')) as {
    tool: string
    cuda: string
  }
  return { status, stderr, found }
}

test('a build tells how far it has come, and keeps what it found out', (t) => {
  const missing = "no CUDA backend: cuBLASLt's header, cublasLt.h, is missing; looked for in /usr/include"
  const compiled = (count: number) =>
    Array.from({ length: count }, (_, index) => `[${index + 1}/${count}] Building CXX object`)
  const { status, stderr, found } = installSaying([`autoprog: ${missing}`, ...compiled(40)])
  t.is(status, 0, stderr)
  t.deepEqual(
    stderr.match(/compiled .*/g),
    [4, 8, 12, 16, 20, 24, 28, 32, 36, 40].map((done) => `compiled ${done} of 40 files`),
  )
  t.true(stderr.includes(missing))
  t.deepEqual(found, { tool: 'cmake-js', cuda: missing, notes: [`autoprog: ${missing}`] })
})

test('lines of make are counted against the sources', (t) => {
  const { stderr } = installSaying(Array.from({ length: 30 }, () => '[  3%] Building CXX object x.o'))
  const [, done, all] = /compiled (\d+) of (\d+) files/.exec(stderr) ?? []
  t.true(Number(done) >= 3 && Number(all) >= 30, stderr)
})

test('a toolkit that does not compile the backend is named, and where to read about it', (t) => {
  const { status, found } = installSaying(['native/cuda/x.cu: error: no'])
  t.is(status, 0)
  t.is(found.cuda, `no CUDA backend: this toolkit does not compile it, see ${join(folder, 'build', 'cuda.log')}`)
})

test('a prebuilt package for this platform is used', (t) => {
  const libc = 'glibcVersionRuntime' in (process.report.getReport() as { header: object }).header ? 'glibc' : 'musl'
  const name = `@autoprog/${process.platform}-${process.arch}${process.platform === 'linux' ? `-${libc}` : ''}`
  mkdirSync(join(folder, 'node_modules', name), { recursive: true })
  writeFileSync(join(folder, 'node_modules', name, 'autoprog.node'), '')
  t.deepEqual(install(), { status: 0, stdout: '', stderr: `autoprog: using ${name}\n` })
})

test('every C++ file of the CPU addon is among the sources', (t) => {
  const { stdout } = spawnSync(process.execPath, ['scripts/gyp.mjs', 'sources'], { cwd: root, encoding: 'utf8' })
  const present = readdirSync(join(root, 'native'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.cpp') && !/^(cuda|emulator|collective)\//.test(path))
    .map((path) => `native/${path}`)
  t.deepEqual(stdout.trim().split('\n').sort(), present.sort())
})
