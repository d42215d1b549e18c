/**
 * Runs the cases of a phase, each a process of its own, and writes what came of them after every one: a case that dies
 * costs itself alone, and a call that is cut off leaves the rest to the next.
 */
import { spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A process that says by its exit status how it went. The last line that it prints, where that is JSON, is its result. */
export interface Case {
  readonly name: string
  readonly command: readonly [string, ...string[]]
  readonly env?: Readonly<Record<string, string>>
  /** Seconds after which it is ended, and has failed. */
  readonly limit: number
}

export interface Outcome {
  readonly name: string
  readonly status: 'passed' | 'failed' | 'skipped'
  readonly seconds: number
  readonly result?: unknown
  /** Why it was skipped, the end of all that it printed where it failed, or the last line where that is no result. */
  readonly note?: string
}

/** What stands in a phase's file. */
export interface Report {
  readonly phase: string
  /** Of the code that was run; what other code has given does not count. */
  readonly code: string
  readonly cases: Outcome[]
  /** Names of cases that had no time left. */
  readonly left: string[]
}

export interface Options {
  readonly phase: string
  readonly cases: readonly Case[]
  readonly code: string
  /** Where the phase's file is kept, from which the next call goes on. */
  readonly folder: string
  /** Where it is copied to. */
  readonly copy?: string
  /** Seconds until no case goes on. */
  readonly seconds: number
  /** Cases that run at a time. */
  readonly together?: number
  readonly say?: (line: string) => void
}

/** What a case ends with when it cannot be run here, its last line the reason. */
export const skippedStatus = 77

/** Runs what has not passed yet: first what has not been run, then what has failed. */
export async function runCases(options: Options): Promise<Report> {
  const { phase, cases, code, folder, copy, together = 1, say = console.log } = options
  const deadline = performance.now() + 1000 * options.seconds
  const path = join(folder, `${phase}.json`)
  const earlier = read(path, code)
  const outcomes = new Map<string, Outcome>()
  for (const { name } of cases) {
    const known = earlier.find((outcome) => outcome.name === name)
    if (known) outcomes.set(name, known)
  }
  const passed = cases.filter(({ name }) => outcomes.get(name)?.status === 'passed')
  if (passed.length > 0) say(`  ${passed.length} of ${cases.length} have passed before`)
  const waiting = [
    ...cases.filter(({ name }) => !outcomes.has(name)),
    ...cases.filter(({ name }) => outcomes.has(name) && outcomes.get(name)!.status !== 'passed'),
  ]
  const left = new Set(waiting.map(({ name }) => name))
  const report = (): Report => ({
    ...{ phase, code, cases: cases.flatMap(({ name }) => outcomes.get(name) ?? []) },
    left: cases.filter(({ name }) => left.has(name)).map(({ name }) => name),
  })
  mkdirSync(folder, { recursive: true })
  write(path, report(), copy)

  async function work(): Promise<void> {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const remaining = (deadline - performance.now()) / 1000
      // With less than half of its time it would most likely be cut off.
      if (remaining < next.limit / 2) continue
      const outcome = await runCase(next, Math.min(remaining, next.limit))
      if (outcome === undefined) continue
      outcomes.set(next.name, outcome)
      left.delete(next.name)
      write(path, report(), copy)
      say(lineOf(outcome))
    }
  }
  await Promise.all(Array.from({ length: together }, work))
  for (const name of report().left) say(`… ${name}: no time left`)
  return report()
}

/** Undefined where `seconds`, fewer than the case's limit, were over before it was. */
async function runCase({ name, command, env, limit }: Case, seconds: number): Promise<Outcome | undefined> {
  const start = performance.now()
  const [program, ...args] = command
  // A group of its own, so that what it has started ends with it.
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { ...process.env, ...env },
  })
  const end = () => {
    try {
      process.kill(-child.pid!, 'SIGKILL')
    } catch {} // it has ended by itself
  }
  process.once('exit', end)
  let printed = ''
  let all = ''
  child.stdout.on('data', (data) => {
    printed = `${printed}${data}`.slice(-(2 ** 20))
  })
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data) => {
      all = `${all}${data}`.slice(-4000)
    })
  let over = false
  const timer = setTimeout(() => {
    over = true
    end()
  }, 1000 * seconds)
  const status = await new Promise<number | string>((resolve) => {
    child.on('error', ({ message }) => resolve(message))
    child.on('close', (exit, signal) => resolve(exit ?? signal ?? 'ended'))
  })
  clearTimeout(timer)
  process.removeListener('exit', end)
  end() // what it has left running
  if (over && seconds < limit) return undefined
  const last = printed.trimEnd().split('\n').at(-1) ?? ''
  const outcome = { name, seconds: Math.round((performance.now() - start) / 100) / 10 }
  if (status === skippedStatus) return { ...outcome, status: 'skipped', note: last }
  const result = parse(last)
  const found = result === undefined ? {} : { result }
  if (status === 0) return { ...outcome, status: 'passed', ...(result === undefined ? { note: last } : found) }
  const why = over ? `ended after ${seconds} s` : `exit status ${status}`
  return { ...outcome, status: 'failed', ...found, note: `${why}\n${all}` }
}

/** A result's `summary`, where it has one, says in a few words what it is. */
function lineOf({ name, status, seconds, result, note = '' }: Outcome): string {
  const { summary } = (result ?? {}) as { summary?: string }
  if (status === 'skipped') return `- ${name}: ${note}`
  const head = `${status === 'passed' ? '✔' : '✖'} ${name} (${seconds} s)`
  if (status === 'passed') return `${head}: ${summary ?? note}`
  return `${head}\n${note.replace(/^/gm, '    ')}`
}

function parse(line: string): unknown {
  try {
    return line.startsWith('{') ? JSON.parse(line) : undefined
  } catch {
    return undefined
  }
}

function read(path: string, code: string): Outcome[] {
  try {
    const report = JSON.parse(readFileSync(path, 'utf8')) as Report
    return report.code === code ? report.cases : []
  } catch {
    return [] // there is none, or half of one
  }
}

function write(path: string, report: Report, copy: string | undefined): void {
  writeFileSync(`${path}.part`, `${JSON.stringify(report, null, 1)}\n`)
  renameSync(`${path}.part`, path)
  if (copy === undefined) return
  mkdirSync(copy, { recursive: true })
  copyFileSync(path, join(copy, `${report.phase}.json`))
}
