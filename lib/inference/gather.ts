/** Calls that come one by one, computed together: a network takes a batch in little more time than a single image. */
export interface Gathered<In, Out> {
  /** The result of one item, computed with others that come soon after or while the network is busy. */
  compute(item: In): Promise<Out>
  /** That an item is on its way: a batch waits for it, though not longer than `maxWait`. */
  announce(): () => void
  /** Resolves once everything that was given is computed. */
  drained(): Promise<void>
}

export interface GatherOptions {
  /** Items of a batch at most. */
  readonly batch: number
  /** Milliseconds that an item waits for others at most while the network is idle. */
  readonly maxWait: number
}

/** `work` computes a batch, one after another, and gives a result an item, in their order. */
export function gather<In, Out>(
  work: (items: readonly In[]) => Promise<readonly Out[]>,
  { batch, maxWait }: GatherOptions,
): Gathered<In, Out> {
  interface Waiting {
    readonly item: In
    readonly resolve: (out: Out) => void
    readonly reject: (error: unknown) => void
  }
  let waiting: Waiting[] = []
  let announced = 0
  let busy = false
  let timer: NodeJS.Timeout | undefined
  const idle: (() => void)[] = []

  const flush = async () => {
    clearTimeout(timer)
    timer = undefined
    busy = true
    while (waiting.length > 0) {
      const these = waiting.slice(0, batch)
      waiting = waiting.slice(batch)
      try {
        const results = await work(these.map(({ item }) => item))
        for (const [index, { resolve }] of these.entries()) resolve(results[index]!)
      } catch (error) {
        for (const { reject } of these) reject(error)
      }
    }
    busy = false
    for (const done of idle.splice(0)) done()
  }
  const consider = () => {
    if (busy || waiting.length === 0) return
    if (waiting.length >= batch || announced === 0 || maxWait === 0) void flush()
    else timer ??= setTimeout(() => void flush(), maxWait)
  }
  return {
    compute: (item) =>
      new Promise((resolve, reject) => {
        waiting.push({ item, resolve, reject })
        consider()
      }),
    announce() {
      announced++
      let over = false
      return () => {
        if (over) return
        over = true
        announced--
        consider()
      }
    },
    drained: () => (busy || waiting.length > 0 ? new Promise((resolve) => idle.push(resolve)) : Promise.resolve()),
  }
}
