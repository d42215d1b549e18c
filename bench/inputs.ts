/**
 * What a step's inputs cost JavaScript's thread, beside another checkout of the repository, steps of both in turn:
 *   node --import tsx bench/inputs.ts [--before FOLDER] [--rounds 7] [--out docs/results/inputs.json]
 * DeiT-S's images (256 x 224 x 224 x 3 bytes) and VOLO's token targets (256 x 196 x 1000 floats). The time does not depend on
 * the network, so that small ones stand in. The checkout has to be built, and to have its packages.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { describeMachine } from '../lib/report/machine.js'
import { table } from '../lib/report/table.js'
import { cases } from './inputs-cases.js'
import { median, startWorker } from './worker.js'

const { values } = parseArgs({
  options: { before: { type: 'string' }, rounds: { type: 'string', default: '7' }, out: { type: 'string' } },
})
const here = fileURLToPath(new URL('..', import.meta.url))
const checkouts = {
  ...(values.before !== undefined && { before: resolve(values.before) }),
  after: here,
}
const stepsPerRound = 4
type Times = { active: number[]; processor: number[] }

async function run(name: keyof typeof cases) {
  const sides = Object.entries(checkouts).map(([side, folder]) => ({
    side,
    worker: startWorker(process.execPath, [
      ...['--import', fileURLToPath(import.meta.resolve('tsx'))],
      ...[fileURLToPath(new URL('inputs-worker.ts', import.meta.url)), folder, name],
    ]),
    times: { active: [], processor: [] } as Times,
  }))
  for (const { worker } of sides) await worker.ask('warm')
  for (let round = 0; round < Number(values.rounds); round++)
    for (const { worker, times } of sides) {
      const answer = (await worker.ask(`go ${stepsPerRound}`))!
      times.active.push(Number(answer.active))
      times.processor.push(Number(answer.processor))
    }
  for (const { worker } of sides) worker.stop()
  return {
    case: name,
    ...Object.fromEntries(
      sides.map(({ side, times: { active, processor } }) => [
        side,
        {
          activeMilliseconds: median(active),
          processorMilliseconds: median(processor),
          rounds: { active, processor },
        },
      ]),
    ),
  } as { case: string } & Record<'before' | 'after', { activeMilliseconds: number; processorMilliseconds: number }>
}

const results: Awaited<ReturnType<typeof run>>[] = []
for (const name of Object.keys(cases) as (keyof typeof cases)[]) {
  results.push(await run(name))
  const commits = Object.fromEntries(
    Object.entries(checkouts).map(([side, cwd]) => [
      side,
      execFileSync('git', ['describe', '--always', '--dirty'], { cwd, encoding: 'utf8' }).trim(),
    ]),
  )
  if (values.out) {
    mkdirSync(dirname(values.out), { recursive: true })
    const json = { bench: 'inputs', date: new Date().toISOString(), machine: describeMachine(), commits, results }
    writeFileSync(values.out, `${JSON.stringify(json, null, 2)}\n`)
  }
}
const figure = (side: { activeMilliseconds: number; processorMilliseconds: number } | undefined) =>
  side ? `${side.activeMilliseconds.toFixed(2)} (${side.processorMilliseconds.toFixed(2)})` : '-'
console.log(
  table(
    ['milliseconds of JavaScript’s thread in a step (on a processor)', 'before', 'after'],
    results.map((result) => [result.case, figure(result.before), figure(result.after)]),
    1,
  ),
)
