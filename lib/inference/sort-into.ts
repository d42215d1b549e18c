/** Images put into a folder for each class, without a file ever being written over, nor an image put there twice. */
import { constants } from 'node:fs'
import { copyFile, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { basename, extname, join, resolve } from 'node:path'
import { AutoprogError } from '../errors.js'
import { makeFolder } from '../folder.js'

export interface Sorted {
  /** The file to copy or to link to; undefined where there are bytes alone. */
  readonly file: string | undefined
  readonly bytes: Uint8Array
  readonly name: string
  readonly label: string
}

/** Copies an image, or links to it, into the folder of its class. Gives the path. Throws DATA where it cannot be written. */
export async function sortInto(folder: string, { file, bytes, name, label }: Sorted, link: boolean): Promise<string> {
  const into = join(folder, folderName(label))
  const ending = extname(name)
  const stem = basename(name, ending)
  try {
    makeFolder(into)
    for (let number = 1; ; number++) {
      const path = join(into, `${stem}${number === 1 ? '' : `-${number}`}${ending}`)
      try {
        if (file === undefined) await writeFile(path, bytes, { flag: 'wx' })
        else if (link) await symlink(resolve(file), path)
        else await copyFile(file, path, constants.COPYFILE_EXCL)
        return path
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
        if (await isSame(path, bytes)) return path
      }
    }
  } catch (cause) {
    const hint = 'give a folder that you may write to and that has room; what was sorted before is there'
    throw new AutoprogError('DATA', `Cannot put ${name} into ${into}: ${(cause as Error).message}`, { hint, cause })
  }
}

/** Whether a file is the image already: sorting again, or sorting what was sorted, adds nothing. */
async function isSame(path: string, bytes: Uint8Array): Promise<boolean> {
  const { size } = await stat(path).catch(() => ({ size: -1 }))
  return size === bytes.length && (await readFile(path)).equals(bytes)
}

/** A class may be called anything, a folder may not. */
const folderName = (label: string) => label.replace(/[/\\\0]/g, '_').replace(/^\.{1,2}$/, '_') || '_'
