/** Writes a file of label maps row by row, under a temporary name until it is whole, so that it can be gone on with. */
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { AutoprogError } from '../../errors.js'
import { toHalves } from '../../half.js'
import { readBytes, writeAll } from '../source/pack-file.js'
import type { MapShape } from './label-files.js'
import { bytesOfType, readTensorHeader } from './tensor-file.js'
import type { Labels } from './token-labels.js'

export interface LabelFile {
  /** Of the images, in the order of the rows. */
  readonly names: readonly string[]
  readonly shape: MapShape
  /** Names of the classes. */
  readonly classes: readonly string[]
  /** What the maps were made of and how; a file is only gone on with where all of it is the same. */
  readonly made: Readonly<Record<string, string>>
}

export interface LabelWriter {
  /** Rows that are written, from the first on. */
  readonly done: number
  /** Writes the maps of some images, from row `first` on, which no gap may separate from those written. Scores are probabilities. */
  write(first: number, labels: Labels): Promise<void>
  /** Gives the whole file its name. */
  finish(): Promise<{ bytes: number }>
  /** Keeps what is written for another time; harmless when repeated, and after `finish`. */
  close(): Promise<void>
}

export const partOf = (path: string): string => `${path}.part`

/** Milliseconds of work that a crash may cost. */
const interval = 1000
const digits = 12

/**
 * Goes on with what an earlier call has left beside `path`, or begins anew. Throws DATA where that is of other maps, unless
 * told to `replace` it, and where the file cannot be written.
 */
export async function createLabelWriter(path: string, file: LabelFile, replace = false): Promise<LabelWriter> {
  const part = partOf(path)
  const writing = <T>(work: Promise<T>) => work.catch((cause) => Promise.reject(cannotWrite(path, cause)))
  const layout = layoutOf(file)
  const rows = file.names.length
  const before = await open(part, 'r+').catch((cause: NodeJS.ErrnoException) =>
    cause.code === 'ENOENT' ? undefined : Promise.reject(cannotWrite(path, cause)),
  )
  const kept =
    before && (await rowsKept(part, before, { layout, rows, replace }).catch((error) => giveUp(before, error)))
  if (kept === undefined) await before?.close()
  const handle = kept === undefined ? await writing(begin(part, layout)) : before!
  let done = kept ?? 0
  let noted = done
  let last = performance.now()
  let closing: Promise<void> | undefined
  // The rows have to be on the disk before they are counted.
  const note = async () => {
    if (noted === done) return
    await handle.datasync()
    await writeAll(handle, Buffer.from(digitsOf(done)), layout.counter)
    noted = done
    last = performance.now()
  }
  const close = () =>
    (closing ??= note()
      .finally(() => handle.close())
      .catch((cause) => Promise.reject(cannotWrite(path, cause))))
  return {
    get done() {
      return done
    },
    async write(first, { classes, scores }) {
      const count = scores.length / layout.rowSize
      if (first > done) throw new AutoprogError('DATA', `Row ${first} follows row ${done - 1}`)
      const labels = layout.wide ? classes : Int16Array.from(classes)
      await writing(
        writeAll(handle, bytesOf(labels), layout.classes + first * layout.rowSize * labels.BYTES_PER_ELEMENT),
      )
      await writing(writeAll(handle, bytesOf(toHalves(scores)), layout.scores + first * layout.rowSize * 2))
      done = Math.max(done, first + count)
      if (performance.now() - last > interval) await writing(note())
    },
    async finish() {
      if (done !== rows) throw new AutoprogError('DATA', `${path} has ${done} of ${rows} label maps`)
      await writing(note())
      await writing(handle.sync())
      await close()
      await writing(rename(part, path))
      return { bytes: layout.bytes }
    },
    close,
  }
}

/** Where everything lies; the header ends with the count of rows, in as many digits whatever it is. */
interface Layout {
  readonly header: Buffer
  readonly names: Buffer
  /** Values of a row. */
  readonly rowSize: number
  /** Whether classes take 32 bits. */
  readonly wide: boolean
  /** First bytes of these, and of the count of rows. */
  readonly classes: number
  readonly scores: number
  readonly namesAt: number
  readonly counter: number
  readonly bytes: number
}

const digitsOf = (rows: number): string => String(rows).padStart(digits, '0')

function layoutOf({ names: list, shape, classes: classNames, made }: LabelFile): Layout {
  const names = Buffer.from(JSON.stringify(list))
  const rowSize = shape[0] * shape[1] * shape[2]
  const wide = classNames.length > 2 ** 15
  const type = wide ? 'I32' : 'I16'
  const sizes = [list.length * rowSize * bytesOfType(type), list.length * rowSize * 2, names.length]
  const [first, second, third] = [sizes[0]!, sizes[0]! + sizes[1]!, sizes[0]! + sizes[1]! + sizes[2]!]
  const text = JSON.stringify({
    __metadata__: { ...made, classes: JSON.stringify(classNames), scores: 'probabilities', done: digitsOf(0) },
    classes: { dtype: type, shape: [list.length, ...shape], data_offsets: [0, first] },
    scores: { dtype: 'F16', shape: [list.length, ...shape], data_offsets: [first, second] },
    names: { dtype: 'U8', shape: [names.length], data_offsets: [second, third] },
  })
  const json = Buffer.from(text)
  const start = 8 + Math.ceil(json.length / 8) * 8
  const header = Buffer.alloc(start, ' ')
  header.writeBigUInt64LE(BigInt(start - 8), 0)
  json.copy(header, 8)
  return {
    ...{ header, names, rowSize, wide, classes: start, scores: start + first, namesAt: start + second },
    // Within a string a quote has a backslash before it.
    ...{ counter: 8 + json.indexOf('"done":"') + '"done":"'.length, bytes: start + third },
  }
}

async function begin(part: string, { header, names, namesAt }: Layout): Promise<FileHandle> {
  const handle = await open(part, 'w+')
  try {
    await writeAll(handle, header, 0)
    await writeAll(handle, names, namesAt)
    return handle
  } catch (error) {
    await handle.close()
    await rm(part, { force: true })
    throw error
  }
}

/** The number of rows that a file begun earlier has; undefined where it is to be replaced. Throws DATA where it is of other maps. */
async function rowsKept(
  part: string,
  handle: FileHandle,
  { layout, rows, replace }: { layout: Layout; rows: number; replace: boolean },
): Promise<number | undefined> {
  const other = (reason: string) =>
    new AutoprogError('DATA', `${part} was begun with other label maps: ${reason}`, {
      hint: 'go on with the same command as before, remove it, or add --force to begin anew',
    })
  if (!(await handle.stat()).isFile()) throw cannotWrite(part, new Error('it is no file'))
  if (await isBarelyBegun(handle, layout)) return undefined
  const found = await readTensorHeader(part, handle).catch((error) => (replace ? undefined : Promise.reject(error)))
  if (found === undefined) return undefined
  const text = layout.header.toString('utf8', 8)
  const wanted = JSON.parse(text) as { __metadata__: Record<string, string> }
  const differing = Object.entries(wanted.__metadata__).flatMap(([key, value]) =>
    key === 'done' || found.metadata[key] === value ? [] : [key],
  )
  const count = Number(found.metadata.done)
  const same = differing.length === 0 && found.text.replace(/"done":"\d+"/, '') === text.replace(/"done":"\d+"/, '')
  const names = same ? await readBytes(handle, layout.namesAt, layout.names.length) : undefined
  if (same && names!.equals(layout.names) && Number.isInteger(count) && count >= 0 && count <= rows) return count
  if (replace) return undefined
  if (differing.length > 0) throw other(`${differing.join(', ')} ${differing.length > 1 ? 'differ' : 'differs'}`)
  throw other(same ? 'the images differ' : 'the number of images or the size of the maps differs')
}

/** Whether a file is as far as its writer came before the first row, and so holds nothing to keep. */
async function isBarelyBegun(handle: FileHandle, { header, names, namesAt }: Layout): Promise<boolean> {
  const { size } = await handle.stat()
  if (size >= namesAt + names.length) return false
  const found = await readBytes(handle, 0, Math.min(size, header.length))
  return found.equals(header.subarray(0, found.length)) || found.every((byte) => byte === 0)
}

async function giveUp(handle: FileHandle, error: unknown): Promise<never> {
  await handle.close()
  throw error
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer =>
  Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength)

function cannotWrite(path: string, cause: Error): AutoprogError {
  const hint = 'check that the folder is there, that you may write to it, and that the disk has room'
  return new AutoprogError('DATA', `Cannot write ${path}: ${cause.message}`, { hint, cause })
}
