/** What benches share: child processes that answer line by line, so that peers take turns. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'

export interface Worker {
  stop(): void
  ask(command: string): Promise<Record<string, unknown> | undefined>
  /** Its exit status, once it has ended; null where a signal ended it, or it never began. */
  readonly ended: Promise<number | null>
}

/** A child process that answers each line with a line of JSON; undefined once it has died. Its other lines go to stderr. */
export function startWorker(command: string, args: readonly string[]): Worker {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = new Promise<number | null>((resolve) => {
    child.on('error', () => resolve(null))
    child.on('close', resolve)
  })
  child.stdin.on('error', () => undefined)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    stop: () => {
      child.kill()
    },
    ask: async (line) => {
      child.stdin.write(`${line}\n`)
      for (;;) {
        const { value, done } = await lines.next()
        if (done) return undefined
        if (value.startsWith('{')) return JSON.parse(value) as Record<string, unknown>
        console.error(value)
      }
    },
    ended,
  }
}

/** What a worker of bench/step has measured: seconds of a step, one a round, and its last words. */
export interface Measured {
  readonly seconds: number[]
  readonly end: Readonly<Record<string, unknown>>
}

/**
 * Warms workers of bench/step, then has each take `steps` steps a round, in turn, after `pause` ms: threads that wait for
 * work spin for a while where others are to run. One that dies gives nothing, and changes nothing for the others.
 */
export async function measureInTurn(
  workers: readonly Worker[],
  { rounds, steps, pause }: { rounds: number; steps: number; pause: number },
): Promise<(Measured | undefined)[]> {
  const seconds: number[][] = []
  const dead = new Set<Worker>()
  const ask = async (worker: Worker, line: string) => {
    const answer = dead.has(worker) ? undefined : await worker.ask(line)
    if (answer === undefined) dead.add(worker)
    return answer
  }
  for (const [index, worker] of workers.entries()) {
    seconds[index] = []
    await ask(worker, 'warm')
  }
  for (let round = 0; round < rounds; round++)
    for (const [index, worker] of workers.entries()) {
      await setTimeout(pause)
      const answer = await ask(worker, `go ${steps}`)
      if (answer) seconds[index]!.push(Number(answer.seconds))
    }
  const results: (Measured | undefined)[] = []
  for (const [index, worker] of workers.entries()) {
    const end = await ask(worker, 'end')
    results.push(end && { seconds: seconds[index]!, end })
  }
  return results
}

export const median = (list: readonly number[]) => [...list].sort((a, b) => a - b)[list.length >> 1]!
