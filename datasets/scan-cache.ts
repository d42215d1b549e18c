/**
 * What the listing of a large folder or the index of a large archive found, kept between runs: one compressed file a scan, in
 * $AUTOPROG_CACHE, $XDG_CACHE_HOME/autoprog or ~/.cache/autoprog. An empty AUTOPROG_CACHE keeps nothing.
 */
import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import { forEachConcurrently } from '../lib/data/concurrent.js'

/** Changes with the meaning of what is kept. */
const version = 1

/** Milliseconds. What changed so shortly before the scan may change again within one tick of the file system's clock. */
const settled = 2_000

interface Scan<T> {
  /** Of the folder or archive. */
  readonly path: string
  /** Anew, where nothing valid is kept. */
  scan(): Promise<T>
  /** The files and folders that `found` depends on: while none of them changes, it holds. */
  sourcesOf(found: T): readonly string[]
}

/** A scan's outcome, which JSON has to be able to hold, from the cache where that is still true. */
export async function cachedScan<T>({ path, scan, sourcesOf }: Scan<T>): Promise<T> {
  const place = placeOf(path)
  if (place === undefined) return scan()
  const kept = await readKept(place.file, sourcesOf)
  if (kept !== undefined) return kept.found
  const begun = Date.now()
  const found = await scan()
  const stamps = await stampsOf(sourcesOf(found))
  if (stamps?.every((time) => time < begun - settled)) await keep(place, { stamps, found })
  return found
}

interface Kept<T> {
  readonly stamps: readonly number[]
  readonly found: T
}

/** Where a path's scan is kept: a folder and a file in it. */
function placeOf(path: string): { folder: string; file: string } | undefined {
  const { AUTOPROG_CACHE, XDG_CACHE_HOME } = process.env
  const folder = AUTOPROG_CACHE ?? join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'autoprog')
  if (folder === '') return undefined
  const name = createHash('sha256')
    .update(`${version} ${resolve(path)}`)
    .digest('hex')
    .slice(0, 32)
  return { folder, file: join(folder, `scan-${name}.json.gz`) }
}

/** Undefined where nothing is kept, it is no longer true or it is damaged: gzip's checksum tells. */
async function readKept<T>(file: string, sourcesOf: Scan<T>['sourcesOf']): Promise<Kept<T> | undefined> {
  try {
    const kept = JSON.parse((await promisify(gunzip)(await readFile(file))).toString()) as Kept<T>
    const now = await stampsOf(sourcesOf(kept.found))
    return now?.length === kept.stamps.length && now.every((time, i) => time === kept.stamps[i]) ? kept : undefined
  } catch {
    return undefined
  }
}

/** A cache that cannot be written is no error: the next run scans again. */
async function keep<T>({ folder, file }: { folder: string; file: string }, kept: Kept<T>): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`
  try {
    await mkdir(folder, { recursive: true })
    await writeFile(temporary, await promisify(gzip)(JSON.stringify(kept), { level: 1 }))
    await rename(temporary, file)
  } catch {
    await rm(temporary, { force: true }).catch(() => {})
  }
}

/**
 * When the entries of each were last changed. Both times count: unpacking an archive sets the first one back. Undefined where
 * one is not there.
 */
async function stampsOf(sources: readonly string[]): Promise<number[] | undefined> {
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
