import { type Measured, measureInTurn, startWorker } from '../../bench/worker.js'
import { test } from '../serial.js'

/** A worker that says of each `go` how many there were, until it dies at the one that is named. */
const worker = (dies: 'warm' | 'go 3' | 'end' | 'never') =>
  startWorker(process.execPath, [
    '-e',
    `let goes = 0
    require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
      if (line.startsWith('go')) goes++
      if (${JSON.stringify(dies)} === (line.startsWith('go') ? 'go ' + goes : line)) process.exit(9)
      console.log('a line that is no answer')
      console.log(JSON.stringify(line === 'end' ? { goes } : { seconds: goes }))
    })`,
  ])
const turns = { rounds: 4, steps: 2, pause: 0 }

test('a worker that dies gives nothing, and the others all that they have measured', async (t) => {
  const workers = [worker('never'), worker('warm'), worker('go 3'), worker('end')]
  const whole: Measured = { seconds: [1, 2, 3, 4], end: { goes: 4 } }
  t.deepEqual(await measureInTurn(workers, turns), [whole, undefined, undefined, undefined])
  t.deepEqual(await Promise.all(workers.slice(1).map(({ ended }) => ended)), [9, 9, 9])
  for (const each of workers) each.stop()
  t.is(await workers[0]!.ended, null, 'it is ended by a signal')
})

test('a worker whose program is missing has ended, and gives nothing', async (t) => {
  const absent = startWorker('/no/such/python3', [])
  t.deepEqual(await measureInTurn([absent], turns), [undefined])
  t.is(await absent.ended, null)
})
