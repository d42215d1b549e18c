/** Opening files of which nobody knows what they are: a pipe would wait for ever, and a device never end. */
import { constants } from 'node:fs'
import { type FileHandle, open, readFile } from 'node:fs/promises'
import { brokenImage } from '../image/fault.js'
import { tooManyBytes } from '../image/limits.js'

/** For reading. Rejects, as the system does, where it cannot be opened, and at once where it is no file. */
export async function openFile(path: string | Buffer): Promise<FileHandle> {
  const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)) // to wait for no writer of a pipe
  try {
    const found = await handle.stat()
    if (!found.isFile()) throw new Error(found.isDirectory() ? 'it is a folder' : 'it is neither a file nor a folder')
    return handle
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** The whole of a file; rejects as `openFile`. */
export async function readWholeFile(path: string | Buffer, signal?: AbortSignal): Promise<Buffer> {
  const handle = await openFile(path)
  try {
    return await readFile(handle, { ...(signal && { signal }) })
  } finally {
    await handle.close()
  }
}

/** The bytes of an image file, where they are not more than any image has; an error calls it `name`. Throws IMAGE. */
export async function readImageFile(name: string, place: string | Buffer = name): Promise<Uint8Array> {
  const unreadable = (cause: unknown) => Promise.reject(brokenImage(name, 'unreadable', cause))
  const file = await openFile(place).catch(unreadable)
  try {
    const large = tooManyBytes(name, (await file.stat()).size)
    if (large !== undefined) throw large
    return await file.readFile().catch(unreadable)
  } finally {
    await file.close()
  }
}
