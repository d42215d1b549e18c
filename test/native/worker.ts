/** What each worker thread of worker-threads.test.ts does: trains a few steps with an addon, device and session of its own. */
import { parentPort, workerData } from 'node:worker_threads'
import { trainSmall } from './small-training.js'

parentPort!.postMessage(await trainSmall(workerData as number))
