/** A line that counts how far long work has come: written over on a terminal, written anew now and then elsewhere. */

import { fitParts } from '../report/fit.js'
import { integer, plural } from '../report/format.js'
import { clearStatus, lookOf, type Output, printLine, showStatus } from '../report/terminal.js'

export interface Counter {
  /** `more` goes between the counts and the speed. */
  show(done: number, total?: number, more?: string): void
  /** Takes the line away, and ends the work: what is shown next is counted anew. Harmless when repeated. */
  clear(): void
}

/** `doing` and `what` as in "reading 1,200 of 50,000 images". Nothing is shown of work that is over at once. */
export function createCounter(stream: Output, doing: string, what: 'file' | 'image'): Counter {
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
      const of = total === undefined ? '' : `${integer(done)} of `
      const speed = `${integer((1000 * (done - begun.done)) / Math.max(1, now - begun.at))} a second`
      const parts = [
        { rank: 0, text: `${doing} ${of}${plural(total ?? done, what)}` },
        ...(more === undefined ? [] : [{ rank: 1, text: more }]),
        { rank: 2, text: speed },
      ]
      const text = fitParts(parts, lookOf(stream).width - 1)
      if (stream.isTTY) showStatus(stream, text)
      else printLine(stream, text)
      shown = true
    },
    clear() {
      if (stream.isTTY && shown) clearStatus()
      begun = undefined
      shown = false
    },
  }
}
