import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { addon } from '../../lib/native.js'
import { openTestDevice } from '../device.js'
import { test } from '../serial.js'
import { unless } from '../unless.js'

const device = await openTestDevice()
const folder = mkdtempSync(join(tmpdir(), 'autoprog-memory-'))
test.after.always(async () => {
  rmSync(folder, { recursive: true })
  await device.close()
})

const program = join(folder, 'memory')
const sources = ['test/native/memory.cpp', 'native/runtime/host-memory.cpp']
const built =
  process.platform === 'linux'
    ? spawnSync('g++', ['-std=c++20', '-O0', '-Inative', ...sources, '-o', program], { encoding: 'utf8' })
    : undefined
const missing = built === undefined ? 'only Linux says so' : built.error && 'g++ is missing'

const MiB = 2 ** 20
const machine = { 'proc/meminfo': 'MemTotal: 9000 kB\nMemAvailable:    4096000 kB\nSwapFree: 0 kB\n' }
const second = (limit: number | string, usage: number, files: number) => ({
  'memory.max': `${limit}\n`,
  'memory.current': `${usage}\n`,
  'memory.stat': `anon 5\ninactive_file ${files / 2}\nactive_file ${files / 2}\n`,
})
const within = (path: string, files: Record<string, string>) =>
  Object.fromEntries(Object.entries(files).map(([name, text]) => [join('sys/fs/cgroup', path, name), text]))

const cases: Record<string, [files: Record<string, string>, said: string]> = {
  'nothing where nothing is known': [{}, 'unknown'],
  'what the machine has': [machine, `${4000 * MiB}`],
  'swap with it': [{ 'proc/meminfo': 'MemAvailable: 1024 kB\nSwapFree: 2048 kB\n' }, `${3 * MiB}`],
  'what a group leaves, with the copies of files in it': [
    {
      ...machine,
      'proc/self/cgroup': '0::/a/b\n',
      ...within('a/b', second(1000 * MiB, 900 * MiB, 200 * MiB)),
      ...within('a', second('max', 900 * MiB, 0)),
    },
    `${300 * MiB}`,
  ],
  'what the group around it leaves': [
    {
      ...machine,
      'proc/self/cgroup': '0::/a/b\n',
      ...within('a/b', second(1000 * MiB, 100 * MiB, 0)),
      ...within('a', second(500 * MiB, 400 * MiB, 0)),
    },
    `${100 * MiB}`,
  ],
  'nothing of a group that is over its limit': [
    { ...machine, 'proc/self/cgroup': '0::/\n', ...within('', second(100 * MiB, 200 * MiB, 0)) },
    '0',
  ],
  'the machine where a group has no limit': [
    { ...machine, 'proc/self/cgroup': '0::/\n', ...within('', second('max', 200 * MiB, 0)) },
    `${4000 * MiB}`,
  ],
  'a group of the first version, whose path is the host’s': [
    {
      ...machine,
      'proc/self/cgroup': '3:cpu:/docker/x\n2:memory:/docker/x\n',
      ...within('memory', {
        'memory.limit_in_bytes': `${600 * MiB}`,
        'memory.usage_in_bytes': `${500 * MiB}`,
        'memory.stat': `inactive_file 1\ntotal_inactive_file ${50 * MiB}\n`,
      }),
    },
    `${150 * MiB}`,
  ],
}
for (const [index, [title, [files, said]]] of Object.entries(cases).entries())
  unless(missing)(`available memory: ${title}`, (t) => {
    t.is(built?.status, 0, built?.stderr)
    const root = join(folder, String(index))
    for (const [path, text] of Object.entries({ 'proc/.keep': '', ...files })) {
      mkdirSync(dirname(join(root, path)), { recursive: true })
      writeFileSync(join(root, path), text)
    }
    t.is(spawnSync(program, [root], { encoding: 'utf8' }).stdout.trim(), said)
  })

unless((device.kind !== 'cpu' || process.platform !== 'linux') && 'only the processor counts so')(
  'memory that was reserved and never touched is not free for others',
  async (t) => {
    const before = (await addon().freeMemory(device.handle))!
    const bytes = Math.floor(before / 2)
    const session = await addon().createSession(device.handle, [0, bytes])
    const after = (await addon().freeMemory(device.handle))!
    t.true(Math.abs(before - bytes - after) < before / 5, `${before} - ${bytes} = ${after}`)
    await t.throwsAsync(addon().createSession(device.handle, [0, bytes, bytes]), {
      code: 'MEMORY',
      message: /Could not reserve \d+ MiB of memory: \d+ MiB are free/,
    })
    addon().closeSession(session)
    t.true((await addon().freeMemory(device.handle))! > before - before / 5)
  },
)
