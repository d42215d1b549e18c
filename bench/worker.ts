/** What benches share: child processes that answer line by line, so that two peers take turns. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

export interface Worker {
  stop(): void
  ask(command: string): Promise<Record<string, unknown> | undefined>
}

/** A child process that answers each line with a line of JSON; undefined once it has died. */
export function startWorker(command: string, args: readonly string[]): Worker {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  child.on('error', () => undefined)
  child.stdin.on('error', () => undefined)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    stop: () => {
      child.kill()
    },
    ask: async (line) => {
      child.stdin.write(`${line}\n`)
      const { value, done } = await lines.next()
      return done ? undefined : (JSON.parse(value) as Record<string, unknown>)
    },
  }
}

export const median = (list: readonly number[]) => [...list].sort((a, b) => a - b)[list.length >> 1]!
