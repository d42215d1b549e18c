import type { ExecutionContext } from 'ava'

/** What an error says: each part equal to a text or matching an expression. */
export interface ExpectedError {
  readonly code?: string
  readonly message?: string | RegExp
  readonly hint?: string | RegExp
}

/** Checks code, message and hint of what was thrown. Passes on the error. */
export function checkError<E extends Error>(t: ExecutionContext, error: E | undefined, expected: ExpectedError): E {
  if (error === undefined) throw new Error('nothing was thrown')
  const { code, message, hint } = error as E & { code?: string; hint?: string }
  const received = { code, message, hint }
  for (const [key, wanted] of Object.entries(expected)) {
    const value = received[key as keyof ExpectedError]
    if (wanted instanceof RegExp) t.regex(value ?? '', wanted, key)
    else t.is(value, wanted, key)
  }
  return error
}

/** That work ends with an abort, which is a DOMException rather than an Error of AVA's. */
export async function checkAbort(
  t: ExecutionContext,
  work: Promise<unknown> | (() => Promise<unknown>),
): Promise<void> {
  const reason = await t.throwsAsync(typeof work === 'function' ? work() : work, {
    any: true,
    instanceOf: DOMException,
  })
  t.is((reason as DOMException | undefined)?.name, 'AbortError')
}
