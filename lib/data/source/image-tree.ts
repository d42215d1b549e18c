/** Datasets made of image files in class folders, wherever those files lie. */
import { AutoprogError, expected, printable } from '../../errors.js'
import type { Fault } from '../image/fault.js'
import { arrangeClassFolders, arrangeTestHalf, type LabelledPaths } from './class-folders.js'
import type { Dataset, LoadOptions, Split } from './dataset.js'
import { decodeAhead, encodedSplit } from './encoded.js'
import { listingFingerprint } from './fingerprint.js'
import { chooseHeldOut } from './hold-out.js'
import type { Listing } from './listing.js'

/** Share of each class held out where nothing else is said. */
const defaultShare = 0.1

/** A tree of files that can be read. */
export interface ImageTree extends Listing {
  /** The bytes of a file; rejects with IMAGE where they cannot be had. */
  read(path: string): Promise<Uint8Array>
  /** The name of the file that holds an image and nothing else; undefined where it is not to be read. */
  fileOf?(path: string): string | undefined
  /** What tells a file from others wherever the tree lies; its path if not given. */
  keyOf?(path: string): string
  /** Bytes of a file. */
  sizeOf(path: string): number | Promise<number>
  /** How to name a file to a human; `source/path` if not given. */
  nameOf?(path: string): string
  /** Releases what the tree holds open; harmless when repeated. */
  close(): Promise<void>
}

type ListOptions = Pick<LoadOptions, 'halves' | 'holdOut' | 'seed' | 'validation'>

export interface Trees {
  readonly train: ImageTree
  readonly test?: ImageTree | undefined
}

/** Some images of a tree. */
export interface Half extends LabelledPaths {
  readonly tree: ImageTree
}

/** Which images train, which test, and which choose where the data has such a part. */
export interface Halves {
  readonly classes: readonly string[]
  readonly train: Half
  readonly validation?: Half | undefined
  readonly test: Half
  readonly notices: readonly string[]
  readonly faults: readonly Fault[]
}

/**
 * The dataset as it is listed: nothing is read yet, and images are decoded on demand. Closes the trees where it fails.
 * Images have three channels, as in torchvision's ImageFolder. Trees are taken for class folders unless `arrange` says otherwise.
 */
export async function listTrees(
  name: string,
  trees: Trees,
  options: ListOptions,
  arrange: (trees: Trees, options: ListOptions) => Halves = arrangeHalves,
): Promise<Dataset> {
  const close = async () => {
    await trees.train.close()
    await trees.test?.close()
  }
  try {
    const { holdOut: share = defaultShare } = options
    if (!(share > 0 && share < 1)) {
      throw new AutoprogError('CONFIG', expected('a number above 0 and below 1', 'holdOut', share))
    }
    const { classes, train, validation, test, notices, faults } = arrange(trees, options)
    const split = ({ tree, paths, labels, root }: Half) =>
      encodedSplit({
        labels,
        channels: 3,
        nameOf: (index) => nameIn(tree, paths[index]!),
        keyOf: (index) => keyIn(tree, paths[index]!, root),
        read: (index) => tree.read(paths[index]!),
        fingerprint: () => listingFingerprint({ paths, labels, sizeOf: (index) => tree.sizeOf(paths[index]!) }),
        ...(tree.fileOf && { fileOf: (index) => tree.fileOf!(paths[index]!) }),
      })
    return {
      ...{ name, classes, channels: 3, notices: notices.map(printable), faults, close },
      train: split(train),
      ...(validation && { validation: split(validation) }),
      test: split(test),
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** The dataset with its parts decoded and held in memory where that serves, as `decodeAhead` says. Closes it where that fails. */
export async function decodeDataset(dataset: Dataset, options: LoadOptions): Promise<Dataset> {
  const { train, validation, test } = dataset
  const parts = [train, test, ...(validation ? [validation] : [])]
  const total = parts.reduce((sum, { length }) => sum + length, 0)
  let before = 0
  const notices = [...dataset.notices]
  const decode = async (part: Split): Promise<Split> => {
    const onProgress = (done: number) => options.onProgress?.(before + done, total)
    const decoded = await decodeAhead(part, { ...options, onProgress })
    before += part.length
    notices.push(...decoded.notices)
    return decoded.split
  }
  try {
    const [decodedTrain, decodedTest] = [await decode(train), await decode(test)]
    return {
      ...{ ...dataset, train: decodedTrain, test: decodedTest },
      ...(validation && { validation: await decode(validation) }),
      notices,
    }
  } catch (error) {
    await dataset.close()
    throw error
  }
}

function arrangeHalves(trees: Trees, options: ListOptions): Halves {
  const { classes, validation, test, notices, ...arranged } = arrangeClassFolders(trees.train, options)
  const train = { ...arranged.train, tree: trees.train }
  const faults = namedFaults(trees.train, arranged.faults)
  if (test !== undefined) {
    const inTree = (half: LabelledPaths): Half => ({ ...half, tree: trees.train })
    return { classes, train, validation: validation && inTree(validation), test: inTree(test), notices, faults }
  }
  if (trees.test !== undefined) {
    const half = arrangeTestHalf(trees.test, classes)
    return {
      ...{ classes, train, test: { ...half, tree: trees.test } },
      notices: [...notices, besideNotice(trees.test), ...half.notices],
      faults: [...faults, ...namedFaults(trees.test, half.faults)],
    }
  }
  const { notice, ...halves } = holdOutOf(train, classes, options)
  return { classes, ...halves, notices: [...notices, notice], faults }
}

export const besideNotice = (test: ImageTree) =>
  `the test images are those of ${test.source}, which lies beside the training images`

/** Holds a share of each class out for testing, or all of it. Throws DATA where there are too few images for that. */
export function holdOutOf(
  train: Half,
  classes: readonly string[],
  { halves: wanted, holdOut: share = defaultShare, seed = 0 }: ListOptions,
): { train: Half; test: Half; notice: string } {
  const { tree, paths, labels, root } = train
  if (wanted === 'all') {
    const notice = `no test half was found: all ${paths.length} images are for testing`
    return { train: { tree, paths: [], labels: new Int32Array() }, test: train, notice }
  }
  const nameOf = (index: number) => keyIn(tree, paths[index]!, root)
  const held = chooseHeldOut({ labels, classes, nameOf }, share, seed)
  const pick = (value: number): Half => ({
    ...train,
    paths: paths.filter((_, index) => held[index] === value),
    labels: labels.filter((_, index) => held[index] === value),
  })
  const halves = { train: pick(0), test: pick(1) }
  const count = halves.test.paths.length
  if (count === 0) {
    const hint = 'give every class at least two images, or a test half of its own'
    throw new AutoprogError('DATA', `${tree.source} holds too few images to keep some for testing`, { hint })
  }
  const notice = `no test half was found: ${count} of ${paths.length} images are held out for testing (about ${Number((share * 100).toFixed(2))}% of each class, at least one, by their names and seed ${seed})`
  return { ...halves, notice }
}

const keyIn = (tree: ImageTree, path: string, root = '') => tree.keyOf?.(path) ?? path.slice(root.length)

/** How to name a file to a human. */
export const nameIn = (tree: ImageTree, path: string): string => tree.nameOf?.(path) ?? `${tree.source}/${path}`

export const namedFaults = (tree: ImageTree, faults: readonly Fault[]): Fault[] =>
  faults.map((fault) => ({ ...fault, name: nameIn(tree, fault.name) }))
