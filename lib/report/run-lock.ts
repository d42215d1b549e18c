/** A run folder has one writer: a file that names it, `run.lock`, lies there while it writes. */
import { linkSync, readFileSync, renameSync, rmdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { AutoprogError } from '../errors.js'
import { makeFolder } from '../folder.js'

export interface RunLock {
  /** Throws CHECKPOINT where the folder is gone, or another process has taken it. */
  check(): void
  /** Gives the folder up, and takes it away where it was made for the lock and holds nothing. Harmless when repeated. */
  release(): void
}

interface Owner {
  readonly pid: number
  readonly host: string
  /** Of the process, as the system counts it: a number used again is another process. */
  readonly started: string
}

/** Signs of life are renewed in this interval; without one for the longest time an owner on another host counts as gone. */
const interval = 10_000
const longest = 120_000

/** Takes a folder to write a run to, and makes it if need be. Throws CHECKPOINT where another process writes there. */
export function lockRun(folder: string): RunLock {
  const path = join(folder, 'run.lock')
  const own = JSON.stringify({ pid: process.pid, host: hostname(), started: startOf(process.pid) } satisfies Owner)
  const made = attempt(folder, () => makeFolder(folder))
  attempt(folder, () => {
    while (!create(path, own)) takeOver(folder, path)
  })
  const renewing = setInterval(() => {
    const now = new Date()
    if (holds(path, own)) utimesSync(path, now, now)
  }, interval)
  renewing.unref()
  let released = false
  return {
    check() {
      if (holds(path, own)) return
      throw new AutoprogError('CHECKPOINT', `The run folder ${folder} was removed, or another process has taken it`, {
        hint: 'What was written there before is as it was left; nothing more is written.',
      })
    },
    release() {
      if (released) return
      released = true
      clearInterval(renewing)
      if (holds(path, own)) rmSync(path, { force: true })
      for (const each of made.reverse()) {
        try {
          rmdirSync(each) // fails where it holds anything
        } catch {
          return
        }
      }
    },
  }
}

/** Whether the lock was free. It appears with its content, so that nobody reads half of it. */
function create(path: string, own: string): boolean {
  const draft = `${path}.${process.pid}.tmp`
  writeFileSync(draft, own)
  try {
    linkSync(draft, path)
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return false
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'ENOSYS') throw error
    return createWithoutLinks(path, own) // a file system that has none
  } finally {
    rmSync(draft, { force: true })
  }
}

function createWithoutLinks(path: string, own: string): boolean {
  try {
    writeFileSync(path, own, { flag: 'wx' })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** Removes the lock of an owner that is gone. Throws CHECKPOINT where it may be alive. */
function takeOver(folder: string, path: string): void {
  const text = read(path)
  if (text === undefined) return
  const owner = parse(text)
  const silent = silence(path)
  const alive = owner !== undefined && (owner.host === hostname() ? isAlive(owner) : silent < longest)
  if (alive) throw taken(folder, path, owner, silent)
  // Renamed first: of two that find it at once, one moves it away, and the other must not remove what the first then makes.
  const aside = `${path}.${process.pid}.old`
  try {
    renameSync(path, aside)
  } catch {
    return
  }
  if (read(aside) !== text) create(path, read(aside) ?? '')
  rmSync(aside, { force: true })
}

function taken(folder: string, path: string, { pid, host }: Owner, silent: number): AutoprogError {
  const here = host === hostname()
  const hint = here
    ? `wait for it, stop it (kill ${pid}), or choose another --out`
    : `choose another --out; if that process is gone, remove ${path}, or wait: ${longest / 1000} s after its last sign of life (${Math.round(silent / 1000)} s ago) the folder is free`
  return new AutoprogError('CHECKPOINT', `Process ${pid} on ${host} is writing to the run folder ${folder}`, { hint })
}

/** Milliseconds since the owner's last sign of life; the file system's clock need not be ours. */
function silence(path: string): number {
  try {
    const probe = `${path}.${process.pid}.now`
    writeFileSync(probe, '')
    const now = statSync(probe).mtimeMs
    rmSync(probe, { force: true })
    return now - statSync(path).mtimeMs
  } catch {
    return 0
  }
}

function isAlive({ pid, started }: Owner): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  return startOf(pid) === started
}

/** When a process began, where the system tells (proc(5), field 22 of stat); its name before that may hold spaces. */
function startOf(pid: number): string {
  const stat = read(`/proc/${pid}/stat`)
  return stat === undefined ? '' : (stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '')
}

const holds = (path: string, own: string) => read(path) === own

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function parse(text: string): Owner | undefined {
  try {
    const { pid, host, started } = JSON.parse(text) as Partial<Owner>
    return typeof pid === 'number' && typeof host === 'string' && typeof started === 'string'
      ? { pid, host, started }
      : undefined
  } catch {
    return undefined
  }
}

function attempt<T>(folder: string, work: () => T): T {
  try {
    return work()
  } catch (cause) {
    if (cause instanceof AutoprogError) throw cause
    const reason = cause instanceof Error ? cause.message : String(cause)
    const hint = 'the run folder must be writable and have room'
    throw new AutoprogError('CHECKPOINT', `Cannot write to ${folder}: ${reason}`, { hint, cause })
  }
}
