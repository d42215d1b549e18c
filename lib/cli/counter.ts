/** A line that counts how far long work has come: written over on a terminal, written anew now and then elsewhere. */
import { integer } from '../report/format.js'

export interface Counter {
  /** `more` goes between the counts and the speed. */
  show(done: number, total?: number, more?: string): void
  /** Takes the line away, and ends the work: what is shown next is counted anew. Harmless when repeated. */
  clear(): void
}

/** `doing` and `what` as in "reading 1,200 of 50,000 images". Nothing is shown of work that is over at once. */
export function createCounter(stream: NodeJS.WriteStream, doing: string, what: string): Counter {
  const interval = stream.isTTY ? 100 : 5000
  let begun: { at: number; done: number } | undefined
  let last = 0
  let shown = false
  return {
    show(done, total, more) {
      const now = performance.now()
      if (begun === undefined) {
        begun = { at: now, done }
        last = now
      }
      if (now - last < interval) return
      last = now
      const of = total === undefined ? '' : ` of ${integer(total)}`
      const speed = `${integer((1000 * (done - begun.done)) / Math.max(1, now - begun.at))} a second`
      const text = [`${doing} ${integer(done)}${of} ${what}`, ...(more === undefined ? [] : [more]), speed].join(' · ')
      stream.write(stream.isTTY ? `\r\x1b[K${text}` : `${text}\n`)
      shown = true
    },
    clear() {
      if (stream.isTTY && shown) stream.write('\r\x1b[K')
      begun = undefined
      shown = false
    },
  }
}
