/** Whether what is about to be reserved or read can fit, told before the system ends the process for it. */
import { AutoprogError, someOf } from './errors.js'

/** Bytes by what they are for, such as `gradients`. */
export type Needs = Readonly<Record<string, number>>

/** Throws MEMORY where the sum of the needs is more than is free; where that is not known anything fits. */
export function checkMemory(subject: string, needs: Needs, free: number | undefined, hint: string): void {
  const sum = Object.values(needs).reduce((total, bytes) => total + bytes, 0)
  if (free === undefined || sum <= free) return
  const parts = Object.entries(needs).map(([name, bytes]) => `${name} ${formatBytes(bytes)}`)
  throw new AutoprogError(
    'MEMORY',
    `${subject} needs ${formatBytes(sum)} of memory (${someOf(parts, ', ', 8)}), but ${formatBytes(free)} are free`,
    { hint },
  )
}

/** As MiB or GiB. */
export function formatBytes(bytes: number): string {
  return bytes < 2 ** 30 ? `${Math.ceil(bytes / 2 ** 20)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`
}
