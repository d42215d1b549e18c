import { spawn, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { lockRun } from '../../lib/report/run-lock.js'
import { checkError } from '../error.js'
import { test } from '../serial.js'

const root = mkdtempSync(join(tmpdir(), 'autoprog-lock-'))
test.after.always(() => rmSync(root, { recursive: true }))

const lockOf = (folder: string) => join(folder, 'run.lock')

/** A folder that another owner has locked. */
function lockedBy(name: string, owner: object | string): string {
  const folder = join(root, name)
  mkdirSync(folder, { recursive: true })
  writeFileSync(lockOf(folder), typeof owner === 'string' ? owner : JSON.stringify(owner))
  return folder
}

test('a folder has one writer, which gives it back', (t) => {
  const folder = join(root, 'one')
  const lock = lockRun(folder)
  checkError(t, t.throws(() => lockRun(folder))!, {
    code: 'CHECKPOINT',
    message: new RegExp(`Process ${process.pid} on ${hostname()} is writing to the run folder ${folder}`),
    hint: /stop it \(kill \d+\)/,
  })
  lock.check()
  writeFileSync(join(folder, 'kept'), '')
  lock.release()
  lock.release()
  t.deepEqual(readdirSync(folder), ['kept'])
  lockRun(folder).release()
})

test('folders made for a run that leaves nothing are taken away, and no others', (t) => {
  mkdirSync(join(root, 'there'))
  lockRun(join(root, 'there', 'a', 'b')).release()
  t.deepEqual(readdirSync(join(root, 'there')), [])
})

test('the lock of a process that is gone is taken over', (t) => {
  const { pid } = spawnSync('true')
  const folder = lockedBy('stale', { pid, host: hostname(), started: '1' })
  const lock = lockRun(folder)
  t.is(JSON.parse(readFileSync(lockOf(folder), 'utf8')).pid, process.pid)
  lock.release()
  t.deepEqual(readdirSync(folder), [])
})

test('so is that of an earlier process of the same number', (t) => {
  if (!existsSync('/proc/self/stat')) return t.pass('the system does not tell when a process began')
  const lock = lockRun(lockedBy('again', { pid: process.pid, host: hostname(), started: '1' }))
  t.notThrows(lock.check)
  lock.release()
})

test('a living process keeps its lock', async (t) => {
  const child = spawn('sleep', ['60'])
  const stat = existsSync(`/proc/${child.pid}/stat`) ? readFileSync(`/proc/${child.pid}/stat`, 'utf8') : ''
  const started = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  const folder = lockedBy('living', { pid: child.pid, host: hostname(), started })
  t.throws(() => lockRun(folder), { message: new RegExp(`Process ${child.pid} on`) })
  const gone = new Promise((resolve) => child.on('exit', resolve))
  child.kill('SIGKILL')
  await gone
  lockRun(folder).release()
})

test('one of another host is free after two minutes without a sign of life', (t) => {
  const folder = lockedBy('far', { pid: 1, host: 'elsewhere', started: '7' })
  checkError(t, t.throws(() => lockRun(folder))!, {
    code: 'CHECKPOINT',
    message: /Process 1 on elsewhere/,
    hint: /remove .*run\.lock, or wait: 120 s after its last sign of life/,
  })
  const before = new Date(Date.now() - 121_000)
  utimesSync(lockOf(folder), before, before)
  lockRun(folder).release()
})

test('a lock cut short by a crash holds nobody up', (t) => {
  const lock = lockRun(lockedBy('cut', '{"pid":1'))
  t.notThrows(lock.check)
  lock.release()
})

test('a folder that was removed, or taken, is noticed', (t) => {
  const folder = join(root, 'removed')
  const lock = lockRun(folder)
  rmSync(folder, { recursive: true })
  checkError(t, t.throws(lock.check)!, { code: 'CHECKPOINT', message: /was removed, or another process has taken it/ })
  const other = lockRun(lockedBy('removed', { pid: 1, host: 'elsewhere', started: '' }).replace('removed', 'free'))
  t.throws(lock.check, { message: /another process has taken it/ })
  lock.release()
  t.true(existsSync(lockOf(folder)), "another's lock stays")
  other.release()
})

test('where no folder can be made the error comes at once', (t) => {
  if (!existsSync('/proc/self')) return t.pass('there is no such place')
  const error = t.throws(() => lockRun('/proc/nowhere/run'))!
  checkError(t, error, { code: 'CHECKPOINT', message: /Cannot write to \/proc\/nowhere\/run/ })
})
