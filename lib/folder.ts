import { existsSync, mkdirSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

/**
 * Makes a folder and those above it that are not there; returns what it made, from the top. Node's own recursive call never
 * returns where a parent is there and refuses new folders with ENOENT, as /proc does.
 */
export function makeFolder(path: string): string[] {
  const missing: string[] = []
  for (let at = resolve(path); !existsSync(at); at = dirname(at)) missing.unshift(at)
  for (const folder of missing) {
    try {
      mkdirSync(folder)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error // another process was as quick
    }
  }
  return missing
}
