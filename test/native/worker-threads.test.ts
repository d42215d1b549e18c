import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { test } from '../serial.js'
import { trainSmall } from './small-training.js'

// All other tests load the addon in a process of its own, as users do; here several threads of one process load it at once.
const startFile = (file: string, workerData?: unknown) => {
  const module = new URL(file, import.meta.url).href
  const script = `import('tsx/esm/api').then(({ register }) => { register(); return import('${module}') })`
  return new Worker(script, { eval: true, workerData })
}
const start = (steps: number) => startFile('./worker.ts', steps)

test('threads side by side train as one alone does', async (t) => {
  const alone = await trainSmall(6)
  t.true(alone.at(-1)! < alone[0]!)
  const workers = [start(6), start(6), start(6)]
  for (const losses of await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0])))
    t.deepEqual(losses, alone)
})

test('a thread that is ended in the middle of a step leaves the others alone', async (t) => {
  const alone = await trainSmall(6)
  const endless = start(1_000_000)
  const losses = once(start(6), 'message')
  await new Promise((done) => setTimeout(done, 1_500))
  t.is(await endless.terminate(), 1)
  t.deepEqual((await losses)[0], alone)
  t.deepEqual(await trainSmall(6), alone)
})

test('threads that are ended in the middle of a call leave the process alive', async (t) => {
  for (let round = 0; round < 5; round++) {
    const calling = startFile('./calling-worker.ts')
    await once(calling, 'message')
    await new Promise((done) => setTimeout(done, 50))
    t.is(await calling.terminate(), 1)
  }
})
