/** Work done ahead of its consumer. */
import { unlessAborted, yieldToEventLoop } from './concurrent.js'

export interface PrefetchOptions<T> {
  readonly first: number
  /** How many items in all; may be infinite. */
  readonly count: number
  /** How many items are prepared, or under way, while the consumer works on one. */
  readonly ahead: number
  /** How many of them are produced at once; begun in order. */
  readonly together: number
  readonly signal: AbortSignal | undefined
  produce(step: number, signal: AbortSignal): Promise<T>
}

/**
 * Yields the items of steps first, first + 1, … in order, with the seconds that the consumer waited for each. When the
 * consumer leaves, or the signal aborts (its reason is thrown), production stops and has ended on return.
 */
export async function* prefetch<T>(
  options: PrefetchOptions<T>,
): AsyncGenerator<{ item: T; waited: number }, void, void> {
  const { first, count, ahead, together, signal, produce } = options
  signal?.throwIfAborted()
  const stop = new AbortController()
  const abort = () => stop.abort(signal?.reason)
  signal?.addEventListener('abort', abort, { once: true })

  const queue: Promise<T>[] = []
  let next = first
  /** The last ones begun, at most `together`. */
  const begun: Promise<unknown>[] = []
  const refill = () => {
    while (queue.length < Math.max(1, ahead) && next < first + count) {
      const step = next++
      const before = begun.length < together ? Promise.resolve() : begun.shift()!
      const made = before.then(async () => {
        await yieldToEventLoop() // or a producer and a consumer that never wait would keep timers and signals out
        stop.signal.throwIfAborted()
        return produce(step, stop.signal)
      })
      made.catch(() => {}) // told to the consumer when it asks for this item, or to nobody if it has left
      queue.push(made)
      begun.push(made)
    }
  }
  try {
    refill()
    for (let made = queue.shift(); made !== undefined; made = queue.shift()) {
      const asked = performance.now()
      const item = await unlessAborted(made, stop.signal)
      const waited = (performance.now() - asked) / 1000
      if (ahead > 0) refill()
      yield { item, waited }
      signal?.throwIfAborted()
      refill()
    }
  } finally {
    signal?.removeEventListener('abort', abort)
    stop.abort()
    await Promise.allSettled(begun)
  }
}
