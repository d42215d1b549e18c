// A session that nobody closes, ended in the way that the argument names; lifetime.test.ts runs it.
import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { createModel } from '../../lib/models/registry.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'

const batch = 4

async function openSession() {
  const device = await openTestDevice()
  const model = createModel('vit_micro')
  const session = await createSession({ device, model, precision: 'bf16' })
  const { imageSize, channels } = model
  const images = {
    data: new Uint8Array(batch * imageSize ** 2 * channels).map((_, index) => (index * 97) % 256),
    shape: [batch, imageSize, imageSize, channels] as const,
  }
  return () => session.step({ images, targets: Int32Array.of(0, 1, 2, 3), learningRate: 1e-3 })
}

const step = await openSession()
await step()
if (!isMainThread) {
  parentPort!.postMessage('at work')
  for (;;) await step()
}

const endings: Record<string, () => unknown> = {
  return: () => step(),
  exit: async () => {
    void step()
    await setImmediate()
    process.exit(3)
  },
  throw: async () => {
    void step()
    await setImmediate()
    throw new Error('thrown on purpose')
  },
  // The main thread's own session goes on afterwards.
  worker: async () => {
    // A worker does not inherit the loader of TypeScript.
    const script = `import('tsx/esm/api').then(({ register }) => { register(); return import('${import.meta.url}') })`
    const worker = new Worker(script, { eval: true })
    await once(worker, 'message')
    await Promise.all([worker.terminate(), step()])
    await step()
  },
}
await endings[process.argv[2]!]!()
