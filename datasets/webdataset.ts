/**
 * WebDataset's layout of archives: `key.jpg` beside `key.cls`, a file that holds the index of the image's class. A label counts for
 * the images whose names go on from its own at a dot (`IMG.0001.cls` for `IMG.0001.jpg` and `IMG.0001.left.jpg`). One that
 * counts for none so (`7.label.cls`) counts for all of its key, which in WebDataset ends at the first dot of the name.
 */
import { join } from 'node:path'
import { imageEnding } from '../lib/data/image/format.js'
import type { Dataset, LoadOptions } from '../lib/data/source/dataset.js'
import { readWholeFile } from '../lib/data/source/files.js'
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
import { few, passedOver, sortedNames } from '../lib/data/source/listing.js'
import { AutoprogError, describe } from '../lib/errors.js'

/** A tree whose images may be labelled by the files beside them. */
export interface PairedTree extends ImageTree {
  /** What the `.cls` files hold, by path. */
  readonly classTexts: ReadonlyMap<string, string>
  /** Files that are there more than once. */
  readonly repeated: readonly string[]
}

interface PairedTrees {
  readonly train: PairedTree
  readonly test?: PairedTree | undefined
}

const classEnding = '.cls'

export const isClassText = (path: string) => path.endsWith(classEnding)

/** Names of the classes, one a line, in a file beside the archives. */
const classNames = 'classes.txt'

/** A class index above this is a mistake where neither names of classes nor the number of images speak for it. */
const mostClasses = 100_000

const hints = {
  index: 'a .cls file holds the index of a class, counted from 0',
  pairs: 'give archives that hold key.jpg and key.cls, in both halves, or class folders',
  keys: 'give every sample a key of its own: key.jpg and key.cls',
  names: 'one line a class is due, that of class 0 first',
}

/** A dataset of pairs where there are any, of class folders otherwise; `folder` is where class names may lie. */
export async function listPairs(
  name: string,
  trees: PairedTrees,
  folder: string,
  options: LoadOptions,
): Promise<Dataset> {
  if (trees.train.classTexts.size === 0) {
    checkForOtherLabels(trees.train)
    return listTrees(name, trees, options)
  }
  const classes = await readClassNames(join(folder, classNames))
  return listTrees(name, trees, options, () => arrangePairs(trees, classes, options))
}

async function readClassNames(file: string): Promise<string[] | undefined> {
  const text = await readWholeFile(file).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined
    throw new AutoprogError('DATA', `Cannot read ${file}: ${cause.message}`, { hint: hints.names, cause })
  })
  const lines = text
    ?.toString('utf8')
    .normalize()
    .replace(/^\ufeff/, '')
    .split(/\s*\n\s*/)
  const names = lines?.map((line) => line.trim()).filter((line) => line !== '')
  const twice = names?.find((each, index) => names.indexOf(each) !== index)
  if (twice === undefined) return names
  throw new AutoprogError('DATA', `${file} names the class ${twice} twice`, { hint: hints.names })
}

function arrangePairs(
  { train, test }: PairedTrees,
  names: readonly string[] | undefined,
  options: LoadOptions,
): Halves {
  const [{ notices, ...half }, held] = [labelPairs(train, names), test && labelPairs(test, names)]
  const count = 1 + [half, held].reduce((most, each) => each?.labels.reduce((a, b) => Math.max(a, b), most) ?? most, 0)
  if (count < 2 && options.halves !== 'all')
    throw new AutoprogError('DATA', `${train.source} has only images of class 0`, { hint: hints.index })
  const classes = names ?? Array.from({ length: count }, (_, label) => `${label}`)
  const faults = [train, test].flatMap((tree) => (tree === undefined ? [] : namedFaults(tree, tree.faults ?? [])))
  const said = [...notices, ...unseenNotices(classes, half.labels)]
  if (test !== undefined && held !== undefined) {
    return { classes, train: half, test: held, notices: [...said, besideNotice(test), ...held.notices], faults }
  }
  const { notice, ...halves } = holdOutOf(half, classes, options)
  return { classes, ...halves, notices: [...said, notice], faults }
}

/** A gap among the labels may be a slip: counting from 1, or a shard that is missing. */
function unseenNotices(classes: readonly string[], labels: Int32Array): string[] {
  const seen = new Set(labels)
  const unseen = classes.filter((_, label) => !seen.has(label))
  return unseen.length === 0 ? [] : [`${unseen.length} of ${classes.length} classes have no image: ${few(unseen)}`]
}

/** The images with a label. */
function labelPairs(tree: PairedTree, names: readonly string[] | undefined): Half & { notices: string[] } {
  const repeated = tree.repeated.filter((path) => isClassText(path) || imageEnding.test(path))
  if (repeated.length > 0) {
    const message = `${tree.source} holds ${few(repeated)} more than once: samples of one key`
    throw new AutoprogError('DATA', message, { hint: hints.keys })
  }
  const images = sortedNames(tree.files.filter((path) => imageEnding.test(path)))
  const found = findLabels(tree, images)
  const paths = images.filter((_, index) => found[index] !== undefined)
  if (paths.length === 0) {
    throw new AutoprogError('DATA', `${tree.source} holds no images with a .cls file`, { hint: hints.pairs })
  }
  const labelled = found.filter((each) => each !== undefined)
  const most = names?.length ?? Math.max(mostClasses, labelled.length)
  const labels = Int32Array.from(labelled, ({ label, file }) => {
    if (label < most) return label
    const due =
      names === undefined
        ? `${most.toLocaleString('en-US')} classes at most can be told apart here`
        : `${classNames} names ${most} classes`
    throw new AutoprogError('DATA', `${nameIn(tree, file)} holds the class index ${label}, and ${due}`, {
      hint: names === undefined ? `${hints.index}; ${classNames} beside it may name more` : hints.names,
    })
  })
  const others = images.filter((_, index) => found[index] === undefined)
  const notices = passedOver(tree.source, 'without a .cls file', others)
  return { tree, paths, labels, notices }
}

interface Label {
  readonly label: number
  /** The file that it stands in. */
  readonly file: string
}

/** A key ends at the first dot of the file's name. */
const keyOf = (path: string): string => /^(?:.*\/)?[^/.]*/.exec(path)![0]

/** The label of each image; undefined where it has none. */
function findLabels(tree: PairedTree, images: readonly string[]): (Label | undefined)[] {
  const byName = new Map<string, Label>()
  for (const [file, text] of tree.classTexts) {
    byName.set(file.slice(0, -classEnding.length), { label: parseLabel(tree, file, text), file })
  }
  const found = images.map((image) => {
    const shortest = keyOf(image).length
    let name = image
    while (name.length > shortest) {
      name = name.slice(0, Math.max(shortest, name.lastIndexOf('.')))
      const label = byName.get(name)
      if (label !== undefined) return label
    }
    return undefined
  })
  const claimed = new Set(found.map((label) => label?.file))
  const byKey = new Map<string, { labels: Label[]; isClaimed: boolean }>()
  for (const label of byName.values()) {
    const key = keyOf(label.file)
    const group = byKey.get(key) ?? { labels: [], isClaimed: false }
    group.labels.push(label)
    group.isClaimed ||= claimed.has(label.file)
    byKey.set(key, group)
  }
  return found.map((label, index) => {
    const { labels, isClaimed } = byKey.get(keyOf(images[index]!)) ?? { labels: [], isClaimed: true }
    if (label !== undefined || isClaimed || labels.length === 0) return label
    if (labels.length === 1) return labels[0]
    const message = `${nameIn(tree, images[index]!)} has the labels of ${few(labels.map(({ file }) => file))}`
    throw new AutoprogError('DATA', message, { hint: hints.keys })
  })
}

function parseLabel(tree: PairedTree, path: string, text: string): number {
  const label = /^\s*\d{1,9}\s*$/.test(text) ? Number(text) : undefined
  if (label !== undefined) return label
  const message = `${nameIn(tree, path)} holds ${describe(text)} where the index of a class is due`
  throw new AutoprogError('DATA', message, { hint: hints.index })
}

/** Throws DATA where images lie in no folders and have their labels in files that are not read. */
function checkForOtherLabels({ source, files }: PairedTree): void {
  const images = files.filter((path) => imageEnding.test(path))
  if (images.length === 0 || images.some((path) => path.includes('/'))) return
  const keys = new Set(images.map(keyOf))
  const endings = ['json', 'txt'].filter((ending) =>
    files.some((path) => path.endsWith(`.${ending}`) && keys.has(keyOf(path))),
  )
  if (endings.length === 0) return
  const message = `The samples of ${source} have .${endings.join(' and .')} but no .cls, and labels are read from .cls alone`
  throw new AutoprogError('DATA', message, { hint: `put the index of each image's class into key.cls, counted from 0` })
}
