/** Data that comes as an npm package. */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { AutoprogError } from '../lib/errors.js'

/** The folder of an installed package, looked for from the working directory and then from this one. Throws DATA where it is not installed. */
export function packageFolder(name: string): string {
  for (const base of [join(process.cwd(), 'package.json'), import.meta.url]) {
    try {
      return dirname(createRequire(base).resolve(`${name}/package.json`))
    } catch {
      // Not to be found from there.
    }
  }
  const hint = `npm install ${name}`
  throw new AutoprogError('DATA', `The data are in the npm package ${name}, which is not installed`, { hint })
}
