/**
 * What the listing of a large folder or the index of a large archive found, kept between runs: one compressed file a scan, in
 * $AUTOPROG_CACHE, $XDG_CACHE_HOME/autoprog or ~/.cache/autoprog. An empty AUTOPROG_CACHE keeps nothing.
 */
import { createHash } from 'node:crypto'
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import { forEachConcurrently } from '../lib/data/concurrent.js'
import { type Fault, imageFaults } from '../lib/data/image/fault.js'
import { readWholeFile } from '../lib/data/source/files.js'

/** Changes with the meaning of what is kept. */
const version = 2

/** Milliseconds. What changed so shortly before the scan may change again within one tick of the file system's clock. */
const settled = 2_000

interface Scan<T> {
  /** Of the folder or archive. */
  readonly path: string
  /** Anew, where nothing valid is kept. */
  scan(): Promise<T>
  /** The files and folders that `found` depends on: while none of them changes, it holds. */
  sourcesOf(found: T): readonly (string | Buffer)[]
  /** Whether what was kept can be an outcome of this scan. */
  isFound(kept: unknown): kept is T
}

/** A scan's outcome, which JSON has to be able to hold, from the cache where that is still true. */
export async function cachedScan<T>({ path, scan, sourcesOf, isFound }: Scan<T>): Promise<T> {
  const place = placeOf(path)
  if (place === undefined) return scan()
  const kept = await readKept(place.file)
  if (kept !== undefined && isFound(kept.found)) {
    const now = await stampsOf(sourcesOf(kept.found))
    if (now?.length === kept.stamps.length && now.every((time, i) => time === kept.stamps[i])) return kept.found
  }
  const begun = Date.now()
  const found = await scan()
  const stamps = await stampsOf(sourcesOf(found))
  if (stamps?.every((time) => time < begun - settled)) await keep(place, { stamps, found })
  return found
}

interface Kept {
  readonly stamps: readonly unknown[]
  readonly found: unknown
}

/** Where a path's scan is kept: a folder and a file in it. */
function placeOf(path: string): { folder: string; file: string } | undefined {
  const folder = cacheFolder()
  if (folder === undefined) return undefined
  return { folder, file: join(folder, `scan-${digestOf(`${version} ${resolve(path)}`).slice(0, 32)}.json.gz`) }
}

/** Undefined where nothing is to be kept, or where the user has no home. */
function cacheFolder(): string | undefined {
  const { AUTOPROG_CACHE, XDG_CACHE_HOME } = process.env
  if (AUTOPROG_CACHE !== undefined) return AUTOPROG_CACHE || undefined
  if (XDG_CACHE_HOME) return join(XDG_CACHE_HOME, 'autoprog')
  try {
    const home = homedir()
    return isAbsolute(home) ? join(home, '.cache', 'autoprog') : undefined
  } catch {
    return undefined // the user is not known to the system
  }
}

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex')

/** Bytes of the largest scan that is read, which is as long as a text can be; that of a million files has a tenth. */
const largest = 2 ** 29

/** Undefined where nothing is kept or it is damaged: its first line is a digest of the rest. */
async function readKept(file: string): Promise<Kept | undefined> {
  try {
    const text = (await promisify(gunzip)(await readWholeFile(file), { maxOutputLength: largest })).toString()
    const [digest, json] = [text.slice(0, 64), text.slice(65)]
    if (digest !== digestOf(json)) return undefined
    const kept = JSON.parse(json) as Kept
    return Array.isArray(kept.stamps) ? kept : undefined
  } catch {
    return undefined
  }
}

/** A cache that cannot be written is no error: the next run scans again. */
async function keep({ folder, file }: { folder: string; file: string }, kept: Kept): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`
  try {
    const json = JSON.stringify(kept)
    await mkdir(folder, { recursive: true })
    await rm(temporary, { force: true })
    await writeFile(temporary, await promisify(gzip)(`${digestOf(json)}\n${json}`, { level: 1 }), { flag: 'wx' })
    await rename(temporary, file)
  } catch {
    await rm(temporary, { force: true }).catch(() => {})
  }
}

/**
 * When the entries of each were last changed. Both times count: unpacking an archive sets the first one back. Undefined where
 * one is not there.
 */
async function stampsOf(sources: readonly (string | Buffer)[]): Promise<number[] | undefined> {
  const stamps: number[] = new Array(2 * sources.length)
  try {
    await forEachConcurrently(sources.length, 16, async (index) => {
      const { mtimeMs, ctimeMs } = await stat(sources[index]!)
      stamps[2 * index] = mtimeMs
      stamps[2 * index + 1] = ctimeMs
    })
    return stamps
  } catch {
    return undefined
  }
}

export const isText = (value: unknown): value is string => typeof value === 'string'

export const isListOf = <T>(value: unknown, isItem: (item: unknown) => item is T): value is T[] =>
  Array.isArray(value) && value.every(isItem)

export const isPairOfTexts = (value: unknown): value is [string, string] =>
  isListOf(value, isText) && value.length === 2

/** A path below the root of what was scanned: it leads nowhere else. */
export const isPathBelow = (value: unknown): value is string =>
  isText(value) && value !== '' && !/\0|^\/|(^|\/)\.\.?(\/|$)/.test(value)

export const isFault = (value: unknown): value is Fault => {
  if (typeof value !== 'object' || value === null) return false
  const { name, fault, reason } = value as Partial<Record<keyof Fault, unknown>>
  return isText(name) && isText(reason) && isText(fault) && Object.hasOwn(imageFaults, fault)
}
