import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Case, type Options, type Report, runCases } from '../../bench/gpu/runner.js'
import { test } from '../serial.js'

const folders: string[] = []
test.after.always(() => {
  for (const folder of folders) rmSync(folder, { recursive: true })
})

/** A phase in a folder of its own, of cases that are scripts; `order.log` there is theirs to write to. */
function phase(scripts: Record<string, string>) {
  const folder = mkdtempSync(join(tmpdir(), 'autoprog-gpu-'))
  folders.push(folder)
  const log = join(folder, 'order.log')
  const lines: string[] = []
  const head = `const fs = require('node:fs'); const folder = ${JSON.stringify(folder)}
    fs.appendFileSync(${JSON.stringify(log)}, process.env.CASE + ' '); `
  const cases = (limit = 60): Case[] =>
    Object.entries(scripts).map(([name, script]) => ({
      ...{ name, limit, env: { CASE: name } },
      command: [process.execPath, '-e', head + script],
    }))
  return {
    ...{ folder, lines, cases },
    /** What has been run since the last call of this. */
    order: () => {
      const names = existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split(' ') : []
      rmSync(log, { force: true })
      return names
    },
    run: (options: Partial<Options> & { limit?: number } = {}) =>
      runCases({
        ...{ phase: 'smoke', cases: cases(options.limit), code: 'one', folder, seconds: 600 },
        ...{ say: (line) => lines.push(line), ...options },
      }),
    stored: () => JSON.parse(readFileSync(join(folder, 'smoke.json'), 'utf8')) as Report,
  }
}
const states = ({ cases }: Report) => cases.map(({ name, status }) => `${name} ${status}`)

test('what a case has given is written before the next one begins', async (t) => {
  const { run, stored } = phase({
    first: `console.log('some text'); console.log(JSON.stringify({ summary: 'fast', images: 7 }))`,
    second: `const { cases, left } = JSON.parse(fs.readFileSync(folder + '/smoke.json', 'utf8'))
      console.log(JSON.stringify({ images: cases[0].result.images, cases: cases.length, left }))`,
  })
  const report = await run()
  t.deepEqual(report.cases[1]!.result, { images: 7, cases: 1, left: ['second'] })
  t.deepEqual(stored(), report)
  t.deepEqual(report.left, [])
})

test('a case that dies costs itself alone, and the end of what it said is kept', async (t) => {
  const { run, lines } = phase({
    throws: `throw new Error('on purpose')`,
    killed: `console.error('its last words'); process.kill(process.pid, 'SIGKILL')`,
    fine: `console.log('3 passed, 0 failed')`,
  })
  const report = await run()
  t.deepEqual(states(report), ['throws failed', 'killed failed', 'fine passed'])
  t.regex(report.cases[0]!.note!, /^exit status 1\n[\s\S]*Error: on purpose/)
  t.is(report.cases[1]!.note, 'exit status SIGKILL\nits last words\n')
  t.is(report.cases[2]!.note, '3 passed, 0 failed')
  t.regex(lines.join('\n'), /✖ throws .*\n[\s\S]*✔ fine \(.* s\): 3 passed, 0 failed$/)
})

test('a program that is not there is a case that failed', async (t) => {
  const { run } = phase({})
  const report = await run({ cases: [{ name: 'absent', command: ['/no/such/program'], limit: 60 }] })
  t.regex(report.cases[0]!.note!, /ENOENT/)
})

test('a case that does not end is ended at its limit, with what it has started', async (t) => {
  const { run, folder } = phase({
    waits: `const child = require('node:child_process').spawn('sleep', ['1000'])
      fs.writeFileSync(folder + '/child', String(child.pid)); setInterval(() => {}, 1000)`,
    fine: '',
  })
  const report = await run({ limit: 3 })
  t.deepEqual(states(report), ['waits failed', 'fine passed'])
  t.regex(report.cases[0]!.note!, /^ended after 3 s/)
  const child = Number(readFileSync(join(folder, 'child'), 'utf8'))
  const alive = () =>
    existsSync(`/proc/${child}`) && !/^\d+ \(sleep\) Z/.test(readFileSync(`/proc/${child}/stat`, 'utf8'))
  t.false(alive())
})

test('a case that the end of the phase cuts off is left to the next call, as is what has not begun', async (t) => {
  const { run, order } = phase({ slow: `if (!fs.existsSync(folder + '/fast')) setInterval(() => {}, 1000)`, fine: '' })
  const report = await run({ limit: 4, seconds: 3 })
  t.deepEqual([order(), report.cases, report.left], [['slow'], [], ['slow', 'fine']])
})

test('the next call repeats nothing that has passed, and what has failed comes last', async (t) => {
  const { cases, run, order, folder } = phase({
    fails: `if (!fs.existsSync(folder + '/mended')) process.exit(1)`,
    fine: '',
    fresh: '',
  })
  t.deepEqual(states(await run({ cases: cases().slice(0, 2) })), ['fails failed', 'fine passed'])
  writeFileSync(join(folder, 'mended'), '')
  order()
  t.deepEqual(states(await run()), ['fails passed', 'fine passed', 'fresh passed'])
  t.deepEqual(order(), ['fresh', 'fails'])
  await run()
  t.deepEqual(order(), [], 'all have passed')
  await run({ code: 'other' })
  t.deepEqual(order(), ['fails', 'fine', 'fresh'], 'what other code has given does not count')
})

test('a case that cannot be run here says why, and is asked again by the next call', async (t) => {
  const { run, order, folder } = phase({
    peer: `if (!fs.existsSync(folder + '/torch')) { console.log('PyTorch is missing'); process.exit(77) }`,
  })
  const report = await run()
  t.deepEqual(states(report), ['peer skipped'])
  t.is(report.cases[0]!.note, 'PyTorch is missing')
  writeFileSync(join(folder, 'torch'), '')
  t.deepEqual(states(await run()), ['peer passed'])
  t.deepEqual(order(), ['peer', 'peer'])
})

test('several cases may run at a time, and a copy of the report follows it', async (t) => {
  // Each waits for the other.
  const meet = (mine: string, other: string) =>
    `fs.writeFileSync(folder + '/${mine}', ''); while (!fs.existsSync(folder + '/${other}'));`
  const { run, folder } = phase({ a: meet('a', 'b'), b: meet('b', 'a') })
  const copy = join(folder, 'copy')
  const report = await run({ together: 2, copy })
  t.deepEqual(states(report), ['a passed', 'b passed'])
  t.deepEqual(JSON.parse(readFileSync(join(copy, 'smoke.json'), 'utf8')), report)
})
