/** The ways in which a process ends while it is at work: what the tests start, and what they expect. */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import type { ExecutionContext } from 'ava'

// An emulated device names on stderr what is left at the end of the process. Where that ends by `exit`, Node deletes no
// handles: memory goes with the process then, but graphs have to be gone before.
export const endings = [
  ['return', 0, /^$/],
  ['exit', 3, /^(emulator: 0 graphs, .*\n)?$/],
  ['throw', 1, /Error: thrown on purpose\n[\s\S]*\nNode\.js v.*\n(emulator: 0 graphs, .*\n)?$/],
  ['worker', 0, /^$/],
] as const

/** Runs a script that calls `endInMiddle`, to one of the endings. */
export function checkEnding(
  t: ExecutionContext,
  script: string,
  [ending, status, output]: (typeof endings)[number],
): void {
  const run = spawnSync(process.execPath, ['--import', 'tsx', script, ending], { encoding: 'utf8' })
  t.is(run.status, status, run.stderr)
  t.regex(run.stderr, output)
}

/** Works once, then ends in the way that the script's argument names while it works again; `url` is the script's own. */
export async function endInMiddle(work: () => Promise<unknown>, url: string): Promise<void> {
  await work()
  if (!isMainThread) {
    parentPort!.postMessage('at work')
    for (;;) await work()
  }
  const ways: Record<string, () => unknown> = {
    return: work,
    exit: async () => {
      void work()
      await setImmediate()
      process.exit(3)
    },
    throw: async () => {
      void work()
      await setImmediate()
      throw new Error('thrown on purpose')
    },
    // What is the main thread's own goes on afterwards.
    worker: async () => {
      // A worker does not inherit the loader of TypeScript.
      const script = `import('tsx/esm/api').then(({ register }) => { register(); return import('${url}') })`
      const worker = new Worker(script, { eval: true })
      await once(worker, 'message')
      await Promise.all([worker.terminate(), work()])
      await work()
    },
  }
  await ways[process.argv[2]!]!()
}
