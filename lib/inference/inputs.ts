/** The images that a person names: files, folders, globs, archives, and what comes by standard input. */
import { existsSync, statSync } from 'node:fs'
import { isAbsolute } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { glob, isDynamicPattern } from 'tinyglobby'
import { openFolder } from '../../datasets/image-folder.js'
import { openTar } from '../../datasets/tar.js'
import { brokenImage } from '../data/image/fault.js'
import { tooManyBytes } from '../data/image/limits.js'
import { readImageFile } from '../data/source/files.js'
import { type ImageTree, nameIn } from '../data/source/image-tree.js'
import { onlyImages } from '../data/source/listing.js'
import { AutoprogError } from '../errors.js'

export interface NamedImage {
  readonly name: string
  /** The bytes of the file; rejects with IMAGE where they cannot be had. */
  read(): Promise<Uint8Array>
}

export interface NamedImages {
  readonly images: readonly NamedImage[]
  /** What was passed over. */
  readonly notices: readonly string[]
  close(): Promise<void>
}

/** Finds the images; each is read when it is asked for. Throws DATA where a name stands for nothing. */
export async function findImages(
  names: readonly string[],
  input: NodeJS.ReadableStream = process.stdin,
): Promise<NamedImages> {
  const images: NamedImage[] = []
  const notices: string[] = []
  const trees: ImageTree[] = []
  const close = async () => {
    for (const tree of trees.splice(0)) await tree.close()
  }
  const addTree = (tree: ImageTree) => {
    trees.push(tree)
    const found = imagesOf(tree)
    notices.push(...found.notices)
    for (const path of [...found.images.files].sort())
      images.push({ name: nameIn(tree, path), read: () => tree.read(path) })
  }
  try {
    const missing: AutoprogError[] = []
    for (const name of names) {
      if (name !== '-' && !existsSync(name) && !isDynamicPattern(name)) {
        missing.push(notThere(name))
        images.push({ name, read: () => Promise.reject(brokenImage(name, 'unreadable', 'it is not there')) })
      } else if (name === '-') images.push(await fromStream(input))
      else
        for (const path of await pathsOf(name)) {
          if (statSync(path).isDirectory()) addTree(await openFolder(path))
          else if (path.endsWith('.tar')) addTree(await openTar(path, {}))
          else images.push({ name: path, read: () => readImageFile(path) })
        }
    }
    // A name among others is a row like that of a broken image; where nothing is there the command is mistaken.
    if (missing.length === images.length && missing[0] !== undefined) throw missing[0]
  } catch (error) {
    await close()
    throw error
  }
  return { images, notices, close }
}

function imagesOf(tree: ImageTree) {
  try {
    return onlyImages(tree)
  } catch (error) {
    if (!(error instanceof AutoprogError)) throw error
    throw new AutoprogError(error.code, error.message, {
      hint: 'give a folder or .tar that holds images',
      cause: error,
    })
  }
}

/** A name that is there wins over a pattern. */
async function pathsOf(name: string): Promise<string[]> {
  if (existsSync(name)) return [name]
  const found = isDynamicPattern(name)
    ? await glob(name, { onlyFiles: true, expandDirectories: false, absolute: isAbsolute(name) })
    : []
  if (found.length > 0) return found.sort()
  throw notThere(name)
}

function notThere(name: string): AutoprogError {
  const hint = 'give image files, folders, patterns such as "photos/**/*.jpg", .tar archives, or - for standard input'
  return new AutoprogError('DATA', `There is no image and no folder ${name}`, { hint })
}

async function fromStream(input: NodeJS.ReadableStream): Promise<NamedImage> {
  const bytes = await buffer(input as AsyncIterable<Buffer>)
  const large = tooManyBytes('standard input', bytes.length)
  if (large !== undefined) throw large
  return { name: 'standard input', read: async () => bytes }
}
