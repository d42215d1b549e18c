/** WebDataset's layout of archives: `key.jpg` beside `key.cls`, a file that holds the index of the image's class. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { imageEnding } from '../lib/data/image/decode.js'
import type { Dataset, LoadOptions } from '../lib/data/source/dataset.js'
import {
  besideNotice,
  type Half,
  type Halves,
  holdOutOf,
  type ImageTree,
  listTrees,
  namedFaults,
  nameIn,
} from '../lib/data/source/image-tree.js'
import { AutoprogError, describe } from '../lib/errors.js'

/** A tree whose images may be labelled by the files beside them. */
export interface PairedTree extends ImageTree {
  /** What the `.cls` files hold, by path. */
  readonly classTexts: ReadonlyMap<string, string>
}

interface PairedTrees {
  readonly train: PairedTree
  readonly test?: PairedTree | undefined
}

export const isClassText = (path: string) => path.endsWith('.cls')

/** Names of the classes, one a line, in a file beside the archives. */
const classNames = 'classes.txt'

/** A dataset of pairs where there are any, of class folders otherwise; `folder` is where class names may lie. */
export async function listPairs(
  name: string,
  trees: PairedTrees,
  folder: string,
  options: LoadOptions,
): Promise<Dataset> {
  if (trees.train.classTexts.size === 0) return listTrees(name, trees, options)
  const names = await readFile(join(folder, classNames), 'utf8').catch(() => undefined)
  const classes = names?.split(/\s*\n\s*/).filter((line) => line !== '')
  return listTrees(name, trees, options, () => arrangePairs(trees, classes, options))
}

function arrangePairs(
  { train, test }: PairedTrees,
  names: readonly string[] | undefined,
  options: LoadOptions,
): Halves {
  const [{ notices, ...half }, held] = [labelPairs(train), test && labelPairs(test)]
  const count = 1 + [half, held].reduce((most, each) => each?.labels.reduce((a, b) => Math.max(a, b), most) ?? most, 0)
  if (names !== undefined && names.length < count) {
    const hint = 'one line a class is due, that of class 0 first'
    const message = `${classNames} beside ${train.source} names ${names.length} classes where there is one of index ${count - 1}`
    throw new AutoprogError('DATA', message, { hint })
  }
  if (count < 2 && options.halves !== 'all')
    throw new AutoprogError('DATA', `${train.source} has only images of class 0`)
  const classes = names ?? Array.from({ length: count }, (_, label) => `${label}`)
  const faults = [train, test].flatMap((tree) => (tree === undefined ? [] : namedFaults(tree, tree.faults ?? [])))
  if (test !== undefined && held !== undefined) {
    return { classes, train: half, test: held, notices: [...notices, besideNotice(test), ...held.notices], faults }
  }
  const { notice, ...halves } = holdOutOf(half, classes, options)
  return { classes, ...halves, notices: [...notices, notice], faults }
}

/** A key ends at the first dot of the file's name. */
const keyOf = (path: string) => /^(?:.*\/)?[^/.]+/.exec(path)?.[0]

/** The images with a label. */
function labelPairs(tree: PairedTree): Half & { notices: string[] } {
  const labelOf = new Map([...tree.classTexts].map(([path, text]) => [keyOf(path), parseLabel(tree, path, text)]))
  const images = tree.files.filter((path) => imageEnding.test(path)).sort()
  const paths = images.filter((path) => labelOf.has(keyOf(path)))
  if (paths.length === 0) {
    const hint = 'give archives that hold key.jpg and key.cls, in both halves, or class folders'
    throw new AutoprogError('DATA', `${tree.source} holds no images with a .cls file`, { hint })
  }
  const others = images.length - paths.length
  const notices = others > 0 ? [`${others} images of ${tree.source} have no .cls file and were passed over`] : []
  return { tree, paths, labels: Int32Array.from(paths, (path) => labelOf.get(keyOf(path))!), notices }
}

function parseLabel(tree: PairedTree, path: string, text: string): number {
  const label = /^\s*\d{1,9}\s*$/.test(text) ? Number(text) : undefined
  if (label !== undefined) return label
  const hint = 'a .cls file holds the index of a class, counted from 0'
  throw new AutoprogError('DATA', `${nameIn(tree, path)} holds ${describe(text)} where the index of a class is due`, {
    hint,
  })
}
