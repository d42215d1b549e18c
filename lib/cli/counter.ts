/** A line that counts how far long work has come: written over on a terminal, written anew now and then elsewhere. */
import { integer } from '../report/format.js'

export interface Counter {
  /** `more` goes between the counts and the speed. */
  show(done: number, total?: number, more?: string): void
  /** Takes the line away; harmless when repeated. */
  clear(): void
}

/** `doing` and `what` as in "reading 1,200 of 50,000 images". */
export function createCounter(stream: NodeJS.WriteStream, doing: string, what: string): Counter {
  const interval = stream.isTTY ? 100 : 5000
  let begun: number | undefined
  let last = performance.now()
  return {
    show(done, total, more) {
      const now = performance.now()
      begun ??= now
      if (now - last < interval) return
      last = now
      const of = total === undefined ? '' : ` of ${integer(total)}`
      const speed = `${integer((1000 * done) / Math.max(1, now - begun))} a second`
      const text = [`${doing} ${integer(done)}${of} ${what}`, ...(more === undefined ? [] : [more]), speed].join(' · ')
      stream.write(stream.isTTY ? `\r\x1b[K${text}` : `${text}\n`)
    },
    clear() {
      if (stream.isTTY && begun !== undefined) stream.write('\r\x1b[K')
    },
  }
}
