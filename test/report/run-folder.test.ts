import { spawnSync } from 'node:child_process'
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TrainingEvent } from '../../lib/report/events.js'
import {
  checkPlace,
  hasSummary,
  readEvents,
  readSummary,
  recordEvents,
  writeAtomically,
} from '../../lib/report/run-folder.js'
import { checkError } from '../error.js'
import { test } from '../serial.js'
import { unless } from '../unless.js'
import { epoch, start, step, stream, summary } from './fixtures.js'

const root = mkdtempSync(join(tmpdir(), 'autoprog-run-'))

async function record(events: TrainingEvent[], folder: string): Promise<TrainingEvent[]> {
  const seen: TrainingEvent[] = []
  for await (const event of recordEvents(stream(events), folder)) seen.push(event)
  return seen
}

test('events pass through and are written line by line, the summary at the end', async (t) => {
  const folder = join(root, 'whole', 'run')
  const events: TrainingEvent[] = [
    start,
    step(0),
    { type: 'notice', message: 'ü — two\nlines' },
    epoch,
    { type: 'end', summary: summary() },
  ]
  t.deepEqual(await record(events.slice(0, -1), folder), events.slice(0, -1))
  t.true(!hasSummary(folder))
  t.deepEqual(await record(events, folder), events)
  t.deepEqual(readEvents(folder), events)
  t.deepEqual(readSummary(folder), summary())
  t.deepEqual(readdirSync(folder).sort(), ['events.jsonl', 'summary.json'])
})

test('a run does not mix with other files, and what a killed one leaves is none of them', (t) => {
  const folder = join(root, 'place')
  checkPlace(folder)
  mkdirSync(join(folder, 'checkpoints'), { recursive: true })
  for (const name of ['.keep', 'config.yaml', 'config.yaml.tmp', 'run.lock.77.tmp', 'asked.yaml'])
    writeFileSync(join(folder, name), '')
  t.notThrows(() => checkPlace(folder))
  writeFileSync(join(folder, 'thesis.tex'), '')
  checkError(
    t,
    t.throws(() => checkPlace(folder)),
    {
      code: 'CHECKPOINT',
      message: /place holds other files than those of a run: thesis\.tex$/,
      hint: /new or empty/,
    },
  )
  checkError(
    t,
    t.throws(() => checkPlace(join(folder, 'thesis.tex'))),
    { code: 'CHECKPOINT', message: /thesis\.tex is a file/ },
  )
})

test('a resumed run takes back what was said after its checkpoint', async (t) => {
  const folder = join(root, 'resumed')
  const checkpoint: TrainingEvent = { type: 'checkpoint', path: 'checkpoints/2', step: 2 }
  const kept: TrainingEvent[] = [start, { type: 'notice', message: 'größer' }, step(0), step(1), checkpoint]
  await record([...kept, { type: 'notice', message: 'after' }, step(2), step(3)], folder)
  appendFileSync(join(folder, 'events.jsonl'), '{"type":"step","st') // killed while writing
  const again: TrainingEvent[] = [{ ...start, resumedFrom: 2 }, step(2)]
  await record(again, folder)
  t.deepEqual(readEvents(folder), [...kept, ...again])
})

test('what was said between two checkpoints of one step is kept', async (t) => {
  const folder = join(root, 'twice')
  const checkpoint: TrainingEvent = { type: 'checkpoint', path: 'checkpoints/2', step: 2 }
  const kept: TrainingEvent[] = [start, step(0), step(1), checkpoint, { type: 'notice', message: 'found' }, checkpoint]
  await record([...kept, step(2)], folder)
  await record([{ ...start, resumedFrom: 2 }], folder)
  t.deepEqual(readEvents(folder), [...kept, { ...start, resumedFrom: 2 }])
})

test('a damaged line is cut off with all that follows, and a notice says so', async (t) => {
  const folder = join(root, 'damaged')
  await record([start, step(0), step(1), step(2)], folder)
  const log = readFileSync(join(folder, 'events.jsonl'))
  log[log.indexOf('"step":1') - 1] = 0xff
  writeFileSync(join(folder, 'events.jsonl'), log)
  t.throws(() => readEvents(folder), { code: 'CHECKPOINT', message: /not JSON/ })
  const seen = await record([{ ...start, resumedFrom: 3 }, step(3)], folder)
  const [, notice] = seen
  t.true(notice?.type === 'notice' && /damaged: what it held from line 3 on is lost/.test(notice.message))
  t.deepEqual(readEvents(folder), [start, step(0), ...seen])
})

test('a checkpoint that was written but not yet logged keeps the steps before it', async (t) => {
  const folder = join(root, 'unlogged')
  await record([start, step(0), step(1), step(2)], folder)
  await record([{ ...start, resumedFrom: 2 }], folder)
  t.deepEqual(readEvents(folder), [start, step(0), step(1), { ...start, resumedFrom: 2 }])
})

test('a folder that cannot be written, and files that cannot be read, are CHECKPOINT errors that name them', async (t) => {
  writeFileSync(join(root, 'file'), '')
  await t.throwsAsync(record([start], join(root, 'file')), { code: 'CHECKPOINT', message: /Cannot write .*file/ })
  mkdirSync(join(root, 'taken', 'events.jsonl'), { recursive: true })
  await t.throwsAsync(record([start], join(root, 'taken')), { code: 'CHECKPOINT' })
  t.throws(() => writeAtomically('/dev/full/x.json', ''), { code: 'CHECKPOINT' })
  t.throws(() => readSummary(join(root, 'nowhere')), { code: 'CHECKPOINT', message: /nowhere/ })
  writeAtomically(join(root, 'broken', 'summary.json'), '{')
  t.throws(() => readSummary(join(root, 'broken')), { code: 'CHECKPOINT', message: /not JSON/ })
  writeAtomically(join(root, 'broken', 'events.jsonl'), 'x\n{}\n')
  t.throws(() => readEvents(join(root, 'broken')), { code: 'CHECKPOINT', message: /not JSON: x/ })
})

// A system that is out of room takes the first part of what it is given and says so: a file's largest size does the same.
const shortWrites = `
  import { execFileSync } from 'node:child_process'
  const { writeTensors } = await import(${JSON.stringify(new URL('../../lib/models/tensor-file.ts', import.meta.url).href)})
  const { writeAtomically } = await import(${JSON.stringify(new URL('../../lib/report/run-folder.ts', import.meta.url).href)})
  execFileSync('prlimit', ['--pid', process.pid, '--fsize=4096:'])
  const said = []
  for (const length of [4096, 5000]) {
    const attempts = {
      text: () => writeAtomically('text', 'x'.repeat(length)),
      tensors: () => writeTensors('tensors', new Map([['a', { shape: [length], values: new Uint8Array(length) }]])),
    }
    for (const [name, attempt] of Object.entries(attempts))
      try {
        await attempt()
        said.push([name, length])
      } catch ({ code, message }) {
        said.push([name, length, code, message])
      }
  }
  process.stdout.write(JSON.stringify(said))
`

unless(spawnSync('prlimit', ['--version']).error && 'prlimit is missing')(
  'a file that is written in part only is an error, and does not take the place of the old one',
  (t) => {
    const folder = join(root, 'short')
    mkdirSync(folder)
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', import.meta.resolve('tsx'), '--input-type=module', '--eval', shortWrites],
      { encoding: 'utf8', cwd: folder },
    )
    t.is(status, 0, stderr)
    const [whole, ...failures] = JSON.parse(stdout) as [string, number, string?, string?][]
    t.deepEqual(whole, ['text', 4096])
    t.deepEqual(
      failures.map(([name, length, code]) => [name, length, code]),
      [
        ['tensors', 4096, 'CHECKPOINT'],
        ['text', 5000, 'CHECKPOINT'],
        ['tensors', 5000, 'CHECKPOINT'],
      ],
    )
    for (const [, , , message] of failures) t.regex(message!, /^Cannot write (text|tensors): .*EFBIG/)
    t.deepEqual(readdirSync(folder), ['text'])
    t.is(readFileSync(join(folder, 'text'), 'utf8').length, 4096)
  },
)
