/** What can be wrong with one file of a dataset, and the error that says so. */
import { AutoprogError, printable } from '../../errors.js'

/** Each kind of fault as the heading of a list. */
export const imageFaults = {
  damaged: 'truncated or damaged',
  empty: 'zero bytes',
  format: 'not of a format that is read',
  large: 'too large',
  link: 'links that lead nowhere',
  unreadable: 'not to be read',
} as const
export type ImageFault = keyof typeof imageFaults

/** A file or folder and what is wrong with it. */
export interface Fault {
  readonly name: string
  readonly fault: ImageFault
  readonly reason: string
}

/** The error of one image that cannot be read or decoded; `reason` is its message without the image's name. */
export type BrokenImage = AutoprogError & Pick<Fault, 'fault' | 'reason'>

const hints: Record<ImageFault, string> = {
  damaged: 'replace the file or remove it',
  empty: 'replace the file or remove it',
  format: 'replace the file or remove it',
  large: 'scale the image down or remove it',
  link: 'put the file itself in its place, or remove the link',
  unreadable: 'check that you may read it',
}

/** The error of one image; `why` is an error or a text, the hint that of the fault unless one is given. */
export function brokenImage(
  name: string,
  fault: ImageFault,
  why: unknown,
  { hint = hints[fault], cause = why instanceof Error ? why : undefined }: { hint?: string; cause?: unknown } = {},
): BrokenImage {
  const reason = reasonOf(why)
  const error = new AutoprogError('IMAGE', `Cannot read the image ${printable(name)}: ${reason}`, { hint, cause })
  return Object.assign(error, { fault, reason })
}

/** The error where it is about one image; anything else that failed is thrown on. */
export function asBrokenImage(error: unknown): AutoprogError {
  if (error instanceof AutoprogError && error.code === 'IMAGE') return error
  throw error
}

/** What is wrong with an image whose loading failed with `error`; anything else that failed is thrown on. */
export function faultOf(error: unknown): Pick<Fault, 'fault' | 'reason'> {
  const about = asBrokenImage(error)
  const { fault = 'unreadable', reason = about.message } = about as Partial<BrokenImage>
  return { fault, reason }
}

/** What libvips and sharp put before a reason: where in them it was found. */
const prefixes = /^(Input buffer has corrupt header: |Vips\w+: |\w+2vips: |\w+load\w*: )+/

/** What is said of an error, on one line and once: libvips repeats itself. */
function reasonOf(why: unknown): string {
  const said = why instanceof Error ? why.message : String(why)
  const lines = said.split('\n').map((line) => line.replace(/\s+/g, ' ').trim().replace(prefixes, ''))
  return printable([...new Set(lines.filter((line) => line !== ''))].join(' '))
}
