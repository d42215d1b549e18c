/** A dataset that `autoprog pack` has put into one file. */
import { basename } from 'node:path'
import { crc32 } from '../lib/checksum.js'
import { brokenImage } from '../lib/data/image/fault.js'
import type { Dataset, Image, LoadOptions } from '../lib/data/source/dataset.js'
import { encodedSplit } from '../lib/data/source/encoded.js'
import { openFile } from '../lib/data/source/files.js'
import { contentFingerprint } from '../lib/data/source/fingerprint.js'
import { decodeDataset } from '../lib/data/source/image-tree.js'
import { type PackContents, type PackedHalf, readBytes, readContents } from '../lib/data/source/pack-file.js'
import { AutoprogError } from '../lib/errors.js'

/**
 * Images are read one by one, at their places in the file: Node maps no files into memory, and the system's cache serves reads
 * as well. Each is compared with its checksum; one that has changed is a broken image. The halves are those it was packed with.
 * Throws DATA where the file is no whole pack.
 */
export async function listPack(file: string): Promise<Dataset> {
  const handle = await openFile(file).catch((cause: Error) => {
    const hint = 'check that the file is there and that you may read it'
    throw new AutoprogError('DATA', `Cannot read ${file}: ${cause.message}`, { hint, cause })
  })
  let closing: Promise<void> | undefined
  const close = () => (closing ??= handle.close())
  try {
    const contents = await readContents(file, handle)
    const { classes, channels, settings, train, test } = contents
    const split = (half: PackedHalf) => {
      const nameOf = (index: number) => `${half.nameOf(index)} in ${file}`
      const read = async (index: number): Promise<Uint8Array> => {
        if (closing !== undefined) throw new AutoprogError('DATA', `${file} is closed`)
        const bytes = await readBytes(handle, half.offsets[index]!, half.lengths[index]!).catch((cause) =>
          Promise.reject(brokenImage(nameOf(index), 'unreadable', cause)),
        )
        if (crc32(bytes) === half.checksums[index]) return bytes
        throw brokenImage(nameOf(index), 'damaged', 'its bytes have changed since it was packed (wrong checksum)')
      }
      const fingerprint = () => contentFingerprint(half.labels, half.lengths, half.checksums, half.heights, half.widths)
      return encodedSplit({
        ...{ labels: half.labels, channels, nameOf, keyOf: half.nameOf, read, fingerprint },
        ...decoderOf(contents, half),
      })
    }
    const notices = [`${file} was packed from ${contents.name} (${settings})`, ...contents.notices]
    return { ...{ name: basename(file), classes, channels, notices, close }, train: split(train), test: split(test) }
  } catch (error) {
    await close()
    throw error
  }
}

/** The same with its images decoded where they are all alike. Throws DATA also where too many of them are broken. */
export async function loadPack(file: string, options: LoadOptions = {}): Promise<Dataset> {
  return decodeDataset(await listPack(file), options)
}

/** Raw pixels are an image as they are. */
function decoderOf({ encoding, channels }: PackContents, half: PackedHalf) {
  const decode = async (pixels: Uint8Array, index: number): Promise<Image> => ({
    pixels,
    height: half.heights[index]!,
    width: half.widths[index]!,
    channels,
  })
  return encoding === 'raw' ? { decode } : {}
}
