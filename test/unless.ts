import type { ImplementationFn } from 'ava'
import { test } from './serial.js'

/** `test`, or where there is a reason against it, `test.skip` with the reason in the title. */
export function unless(reason: unknown): (title: string, implementation: ImplementationFn<[]>) => void {
  if (!reason) return (title, implementation) => test(title, implementation)
  const note = typeof reason === 'string' ? ` (skipped: ${reason})` : ''
  return (title, implementation) => test.skip(`${title}${note}`, implementation)
}
