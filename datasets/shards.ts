/** A dataset in many tar archives: `train-000.tar`, `train-001.tar`, …, `val-000.tar`, … */
import { readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { imageEnding } from '../lib/data/image/format.js'
import type { Dataset, LoadOptions } from '../lib/data/source/dataset.js'
import { type HalfName, halfOf, heldOutHalves, namesBeside } from '../lib/data/source/halves.js'
import { nameIn } from '../lib/data/source/image-tree.js'
import { AutoprogError } from '../lib/errors.js'
import { openTar } from './tar.js'
import { listPairs, type PairedTree } from './webdataset.js'

/** Paths of archives, each half in order. */
export interface Shards {
  /** The folder or pattern, as an error names it. */
  readonly source: string
  readonly folder: string
  readonly train: readonly string[]
  /** Empty where there is no test half. */
  readonly test: readonly string[]
}

/**
 * The archives of a folder that holds neither folders nor images beside them; undefined where it is no such folder. Of val
 * and test val counts. Throws DATA where it has a test half alone, unless all is to be tested.
 */
export async function findShards(folder: string, { halves }: LoadOptions = {}): Promise<Shards | undefined> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  const visible = entries.filter(({ name }) => !name.startsWith('.'))
  const archives = visible.flatMap((entry) => (entry.name.endsWith('.tar') ? entry.name : [])).sort()
  const others = visible.some((entry) => entry.isDirectory() || imageEnding.test(entry.name))
  if (archives.length === 0 || others) return undefined
  const of = (half: HalfName | undefined) => archives.filter((name) => halfOf(name)?.half === half)
  const half = heldOutHalves.find((each) => of(each).length > 0)
  const test = half === undefined ? [] : of(half)
  const [named, rest] = [of('train'), of(undefined)]
  const train = named.length > 0 ? named : rest
  const inFolder = (names: string[]) => names.map((name) => join(folder, name))
  if (train.length === 0 && halves === 'all') return { source: folder, folder, train: inFolder(test), test: [] }
  if (train.length === 0) {
    const hint = 'the names of training archives have the word train in them'
    throw new AutoprogError('DATA', `${folder} holds archives of ${half} but none for training`, { hint })
  }
  return { source: folder, folder, train: inFolder(train), test: inFolder(test) }
}

/**
 * The archives that `train-{000..146}.tar` or `train-{a,b}.tar` stand for, and as a test half the files with `val` or `test` for
 * `train` and anything for the braces. Undefined where there are no braces.
 */
export async function expandShards(pattern: string): Promise<Shards | undefined> {
  const names = expandBraces(basename(pattern))
  if (names.length === 0 || names[0] === basename(pattern)) return undefined
  const folder = dirname(pattern)
  const found = await readdir(folder).catch(() => [])
  const halves = namesBeside(basename(pattern)).map((name) => {
    const parts = name.split(/\{[^{}]*\}/).map((part) => part.replace(/[^\w]/g, '\\$&'))
    const like = new RegExp(`^${parts.join('\\w+')}$`, 'i')
    return found.filter((each) => like.test(each)).sort()
  })
  const inFolder = (files: readonly string[]) => files.map((file) => join(folder, file))
  const test = halves.find((files) => files.length > 0) ?? []
  return { source: pattern, folder, train: inFolder(names), test: inFolder(test) }
}

/** Names that one pattern may stand for. */
const mostNames = 100_000

/** `{000..003}` as in bash and in Python's braceexpand, and `{a,b}`. Throws DATA where they stand for too many names. */
export function expandBraces(pattern: string): string[] {
  let names = ['']
  let rest = pattern
  for (let match = firstBraces.exec(rest); match !== null; match = firstBraces.exec(rest)) {
    const [all, first = '', last = '', list] = match
    const items = list?.split(',')
    const [from, to] = [Number(first), Number(last)]
    const count = items?.length ?? Math.max(0, to - from + 1)
    if (names.length * count > mostNames) {
      const hint = 'name fewer archives, or give the folder that holds them'
      throw new AutoprogError('DATA', `${pattern} stands for more than ${mostNames.toLocaleString('en-US')} names`, {
        hint,
      })
    }
    const width = first.startsWith('0') ? first.length : 0
    const choices = items ?? Array.from({ length: count }, (_, i) => `${from + i}`.padStart(width, '0'))
    const before = rest.slice(0, match.index)
    names = names.flatMap((name) => choices.map((choice) => `${name}${before}${choice}`))
    rest = rest.slice(match.index + all.length)
  }
  return names.map((name) => `${name}${rest}`)
}

const firstBraces = /\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}/

/** Lists them without decoding images. Throws DATA, naming the archive, where one is missing, cannot be read or is truncated, or where they hold no dataset. */
export async function listShards(shards: Shards, options: LoadOptions = {}): Promise<Dataset> {
  const train = await openAll(shards.source, shards.train, options)
  try {
    const test = shards.test.length === 0 ? undefined : await openAll(testSource(shards.test), shards.test, options)
    return await listPairs(basename(shards.source) || shards.source, { train, test }, shards.folder, options)
  } catch (error) {
    await train.close()
    throw error
  }
}

const testSource = (files: readonly string[]) =>
  files.length === 1 ? files[0]! : `${files[0]} … ${basename(files.at(-1)!)}`

/** The archives as one tree. */
async function openAll(source: string, files: readonly string[], options: LoadOptions): Promise<PairedTree> {
  const trees: PairedTree[] = []
  const close = async () => {
    await Promise.all(trees.map((tree) => tree.close()))
  }
  try {
    let before = 0
    for (const file of files) {
      options.signal?.throwIfAborted()
      trees.push(await openTar(file, { ...options, onListing: (count) => options.onListing?.(before + count) }))
      before += trees.at(-1)!.files.length
      options.onListing?.(before)
    }
    return { source, ...joinTrees(trees), close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Archives may have members of the same name, so that each gets the number of its archive: `cat/0003-17.jpg`. */
function joinTrees(trees: readonly PairedTree[]): Omit<PairedTree, 'source' | 'close'> {
  const places = new Map<string, { tree: PairedTree; path: string }>()
  const classTexts = new Map<string, string>()
  const digits = `${trees.length - 1}`.length
  trees.forEach((tree, number) => {
    const prefix = `${`${number}`.padStart(digits, '0')}-`
    for (const path of tree.files) {
      const joined = path.replace(/[^/]+$/, (name) => (name.startsWith('.') ? name : `${prefix}${name}`)) // hidden ones stay so
      places.set(joined, { tree, path })
      const text = tree.classTexts.get(path)
      if (text !== undefined) classTexts.set(joined, text)
    }
  })
  const find = (joined: string) => places.get(joined)!
  return {
    files: [...places.keys()],
    faults: trees.flatMap(({ faults = [] }) => faults),
    folders: [...new Set(trees.flatMap((tree) => tree.folders))],
    classTexts,
    repeated: trees.flatMap((tree) => tree.repeated.map((path) => nameIn(tree, path))),
    read: (joined) => find(joined).tree.read(find(joined).path),
    keyOf: (joined) => `${basename(find(joined).tree.source)}/${find(joined).path}`,
    sizeOf: (joined) => find(joined).tree.sizeOf(find(joined).path),
    nameOf: (joined) => `${find(joined).tree.source}/${find(joined).path}`,
  }
}
