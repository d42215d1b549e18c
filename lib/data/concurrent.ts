/** Small helpers for work that must not hold up the event loop. */
import { setImmediate } from 'node:timers/promises'

/** Lets timers, I/O and the consumer have their turn. */
export async function yieldToEventLoop(): Promise<void> {
  await setImmediate()
}

/**
 * Runs `work` for 0 … count - 1, begun in that order, with at most `limit` under way.
 * After a failure nothing more is begun, and the failure is thrown once everything under way has settled.
 */
export async function forEachConcurrently(
  count: number,
  limit: number,
  work: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0
  const lane = async () => {
    try {
      while (next < count) await work(next++)
    } catch (error) {
      next = count
      throw error
    }
  }
  const lanes = await Promise.allSettled(Array.from({ length: Math.min(limit, count) }, lane))
  for (const result of lanes) if (result.status === 'rejected') throw result.reason
}

/** Runs work at once where fewer than a certain number are under way, and otherwise in the order in which it was given. */
export type Lanes = <T>(work: () => Promise<T>) => Promise<T>

export function createLanes(limit: number): Lanes {
  let free = limit
  const waiting: (() => void)[] = []
  return async (work) => {
    if (free > 0) free -= 1
    else await new Promise<void>((resolve) => waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next === undefined) free += 1
      else next()
    }
  }
}

/** The promise's outcome, or the signal's reason as soon as it aborts; leaves no listener behind. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
