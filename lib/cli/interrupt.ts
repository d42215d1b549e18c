/** SIGINT, SIGTERM and SIGHUP as an AbortSignal: the first asks the run to write a checkpoint and stop, the second ends the process. */
export interface Interrupt {
  readonly signal: AbortSignal
  /** The exit status that the signal stands for (128 + its number), or undefined while there was none. */
  status(): number | undefined
  /** Gives the signals back to Node. */
  release(): void
}

// Node resets a SIGHUP that nohup had it ignore, so that this cannot be told apart: the run stops, and loses nothing.
const statuses = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const

export function listenForInterrupt(say: (message: string) => void): Interrupt {
  const controller = new AbortController()
  let status: number | undefined
  const stop = (name: keyof typeof statuses) => {
    if (status !== undefined) process.exit(statuses[name])
    status = statuses[name]
    say(`${name}: writing a checkpoint, then stopping (once more stops at once)`)
    controller.abort()
  }
  const names = Object.keys(statuses) as (keyof typeof statuses)[]
  for (const name of names) process.on(name, stop)
  return {
    signal: controller.signal,
    status: () => status,
    release: () => {
      for (const name of names) process.off(name, stop)
    },
  }
}
