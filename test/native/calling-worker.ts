/** A worker thread of worker-threads.test.ts that is inside the addon nearly all of the time: it reads one long description. */
import { parentPort } from 'node:worker_threads'
import type { ProgramDescription } from '../../lib/native.js'
import { addon } from '../../lib/native.js'
import { openTestDevice } from '../device.js'

const device = await openTestDevice()
const session = await addon().createSession(device.handle, [0])
const tensor = { arena: 0, offset: 0, type: 'f32' as const, shape: [1, 1, 1, 1] }
const description: ProgramDescription = {
  ...{ batch: 1, microBatch: 1, activationBytes: 4, nodes: [], inputs: [] },
  tensors: Array.from({ length: 5000 }, () => tensor),
  outputs: [{ name: 'refused at the end', tensor: -1, sliced: false }],
}
parentPort!.postMessage('at work')
for (;;)
  try {
    await addon().createProgram(session, description)
  } catch {}
