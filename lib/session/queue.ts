/** Calls that must not overlap: each begins when those made before it have ended. */
export interface Queue {
  /** Whether a call would begin at once. */
  readonly idle: boolean
  /** Begins within the call itself where the queue is idle. What fails does not hold up what follows. */
  run<T>(work: () => Promise<T>): Promise<T>
}

export function createQueue(): Queue {
  let last: Promise<unknown> = Promise.resolve()
  let waiting = 0
  return {
    get idle() {
      return waiting === 0
    },
    run(work) {
      const before = waiting++ === 0 ? undefined : last
      const result = (async () => {
        if (before !== undefined) await before
        try {
          return await work()
        } finally {
          waiting-- // before the caller goes on, so that its next call finds the queue idle
        }
      })()
      last = result.catch(() => undefined)
      return result
    },
  }
}

/** The same options with other arrays, as `copy` makes them of theirs. */
export function copyOf<T>(options: T, copy: <A extends ArrayBufferView>(array: A) => A, depth = deepest): T {
  if (ArrayBuffer.isView(options)) return copy(options)
  if (typeof options !== 'object' || options === null || depth === 0) return options
  if (Array.isArray(options)) return options.map((value) => copyOf(value, copy, depth - 1)) as T
  return Object.fromEntries(Object.entries(options).map(([key, value]) => [key, copyOf(value, copy, depth - 1)])) as T
}

/** Objects within objects that options have; what lies deeper is none of theirs, and may lead back. */
const deepest = 4
