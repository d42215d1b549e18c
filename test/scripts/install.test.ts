import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from '../serial.js'

const root = join(import.meta.dirname, '..', '..')
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'autoprog-install-')))
test.after.always(() => rmSync(folder, { recursive: true }))
for (const path of ['package.json', 'CMakeLists.txt', 'binding.gyp', 'native', 'scripts'])
  cpSync(join(root, path), join(folder, path), { recursive: true })

function install(args: string[] = []) {
  const options = { cwd: folder, encoding: 'utf8', env: { PATH: join(folder, 'nothing') } } as const
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
