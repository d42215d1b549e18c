/**
 * Label maps for token labelling (Jiang et al., 2021): for each training image the K best classes with their scores at h x w
 * positions. They lie in one file, or in a folder with a file an image, and are read image by image.
 *
 * The file is safetensors: `classes` [N, K, h, w] (I16, I32 or I64) and `scores` [N, K, h, w] (F16 or F32), `names` (U8), a
 * JSON list of the images' names in the order of the rows, and as metadata `classes`, a JSON list of their names. In a folder
 * `CLASS/NAME.safetensors` holds the `map` [2, K, h, w] of one image: scores, then classes, as they are published.
 *
 * Scores are probabilities, or logits of which those of all other classes count as zero; the metadata `scores` says which, and
 * where it does not the scores do: probabilities are never negative and never add up to more than 1. The published
 * maps are logits.
 */
import { type FileHandle, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { AutoprogError } from '../../errors.js'
import { openFile as openPlainFile } from '../source/files.js'
import { readBytes } from '../source/pack-file.js'
import { decodeNumbers, readTensorHeader, type StoredTensor } from './tensor-file.js'

export type MapShape = readonly [best: number, height: number, width: number]

/** Where maps lie, whatever images they are for. */
export interface Source {
  readonly names: readonly string[]
  readonly shape: MapShape
  readonly metadata: Readonly<Record<string, string>>
  /** Scores and classes of one place, each (K, h, w), as they are stored. */
  read(place: number): Promise<{ scores: ArrayLike<number>; classes: ArrayLike<number> }>
  /** How to name a place to a human. */
  nameOf(place: number): string
  close(): Promise<void>
}

/** Throws DATA where there are no maps, or damaged ones. */
export async function openSource(path: string): Promise<Source> {
  const found = await stat(path).catch((cause: Error) => {
    const hint =
      'autoprog annotate makes label maps with a trained model; without tokenLabels.maps class labels are used'
    throw new AutoprogError('DATA', `There are no label maps at ${path}: ${cause.message}`, { hint, cause })
  })
  return found.isDirectory() ? openFolder(path) : openFile(path)
}

async function openForReading(path: string): Promise<FileHandle> {
  return openPlainFile(path).catch((cause: Error) => {
    const hint = 'check that the file is there and that you may read it'
    throw new AutoprogError('DATA', `Cannot read ${path}: ${cause.message}`, { hint, cause })
  })
}

async function openFile(path: string): Promise<Source> {
  const handle = await openForReading(path)
  let closing: Promise<void> | undefined
  const close = () => (closing ??= handle.close())
  try {
    const { tensors, metadata } = await readTensorHeader(path, handle)
    const { classes, scores, names: stored } = Object.fromEntries(tensors)
    if (!classes || !scores || !stored) throw noMaps(path, `it holds ${[...tensors.keys()].join(', ') || 'nothing'}`)
    const names = parseNames(path, await readBytes(handle, stored.offset, stored.bytes))
    const [rows, ...shape] = scores.shape
    if (shape.length !== 3 || classes.shape.join() !== scores.shape.join() || scores.shape.includes(0))
      throw noMaps(path, `its shapes are [${classes.shape.join(', ')}] and [${scores.shape.join(', ')}]`)
    checkSize(path, shape)
    if (names.length !== rows) throw noMaps(path, `it holds ${rows} maps and ${names.length} names`)
    const row = async ({ type, offset, bytes }: StoredTensor, place: number) =>
      decodeNumbers(await readBytes(handle, offset + (bytes / rows!) * place, bytes / rows!), type)
    return {
      ...{ names, shape: shape as unknown as MapShape, metadata, close },
      nameOf: (place) => `that of ${names[place]} in ${path}`,
      read: async (place) => {
        if (closing !== undefined) throw new AutoprogError('DATA', `${path} is closed`)
        const [ofScores, ofClasses] = await Promise.all([row(scores, place), row(classes, place)])
        return { scores: ofScores, classes: ofClasses }
      },
    }
  } catch (error) {
    await close()
    throw error
  }
}

function parseNames(path: string, bytes: Buffer): string[] {
  try {
    const names: unknown = JSON.parse(bytes.toString('utf8'))
    if (Array.isArray(names) && names.every((name) => typeof name === 'string')) return names
  } catch {}
  throw noMaps(path, 'its names are no JSON list')
}

const ending = '.safetensors'

/** The maps of class folders; all are as large as the first. */
async function openFolder(path: string): Promise<Source> {
  const found = await readdir(path, { recursive: true }).catch((cause: Error) => {
    const hint = 'check that you may read it and all that is in it'
    throw new AutoprogError('DATA', `Cannot read the folder ${path}: ${cause.message}`, { hint, cause })
  })
  const files = found.filter((file) => file.endsWith(ending)).sort()
  const [first] = files
  if (first === undefined) throw noMaps(path, `it is a folder without ${ending} files`)
  const readMap = async (file: string) => {
    const handle = await openForReading(file)
    try {
      const header = await readTensorHeader(file, handle)
      const { type, shape, offset, bytes } = mapOf(file, header.tensors)
      const numbers = decodeNumbers(await readBytes(handle, offset, bytes), type)
      return { shape, numbers, metadata: header.metadata }
    } finally {
      await handle.close()
    }
  }
  const { shape, metadata } = await readMap(join(path, first))
  return {
    ...{ names: files.map((file) => file.slice(0, -ending.length)), shape, metadata },
    nameOf: (place) => join(path, files[place]!),
    async read(place) {
      const file = join(path, files[place]!)
      const map = await readMap(file)
      if (map.shape.join() !== shape.join())
        throw noMaps(file, `it is of ${map.shape.join(' x ')}, and the first of the folder of ${shape.join(' x ')}`)
      const numbers = Array.from(map.numbers)
      return { scores: numbers.slice(0, numbers.length / 2), classes: numbers.slice(numbers.length / 2) }
    },
    async close() {},
  }
}

function mapOf(file: string, tensors: ReadonlyMap<string, StoredTensor>): StoredTensor & { shape: MapShape } {
  const map = tensors.get('map')
  if (map === undefined) throw noMaps(file, 'it holds no tensor named map')
  const [two, ...shape] = map.shape
  if (two !== 2 || shape.length !== 3 || shape.includes(0))
    throw noMaps(file, `its map has shape [${map.shape.join(', ')}]`)
  checkSize(file, shape)
  return { ...map, shape: shape as unknown as MapShape }
}

/** Values of the largest map: five classes at 256 x 256 positions take a fiftieth. */
const largestMap = 2 ** 24

function checkSize(path: string, shape: readonly number[]): void {
  if (shape.reduce((product, extent) => product * extent, 1) > largestMap)
    throw noMaps(path, `a map of ${shape.join(' x ')} has more than ${largestMap.toLocaleString('en-US')} values`)
}

export function noMaps(path: string, reason: string): AutoprogError {
  const hint = 'autoprog annotate makes label maps; docs/token-labels.md says what they are'
  return new AutoprogError('DATA', `${path} holds no label maps: ${reason}`, { hint })
}
