/** Datasets made of image files in class folders, wherever those files lie. */
import { AutoprogError, expected } from '../errors.js'
import { arrangeClassFolders, arrangeTestHalf, holdOut, type LabelledPaths, type Listing } from './class-folders.js'
import type { Dataset, LoadOptions } from './dataset.js'
import { encodedSplit } from './encoded.js'

/** Share of each class held out where nothing else is said. */
const defaultShare = 0.1

/** A tree of files that can be read. */
export interface ImageTree extends Listing {
  /** The bytes of a file; rejects with IMAGE where they cannot be had. */
  read(path: string): Promise<Uint8Array>
  /** How to name a file to a human; `source/path` if not given. */
  nameOf?(path: string): string
  /** Releases what the tree holds open; harmless when repeated. */
  close(): Promise<void>
}

export interface Trees {
  readonly train: ImageTree
  readonly test?: ImageTree | undefined
}

/** Some images of a tree. */
export interface Half extends LabelledPaths {
  readonly tree: ImageTree
}

/** Which images train and which test. */
export interface Halves {
  readonly classes: readonly string[]
  readonly train: Half
  readonly test: Half
  readonly notices: readonly string[]
}

/**
 * Closes the trees where making the dataset fails. Images have three channels, as in torchvision's ImageFolder.
 * Trees are taken for class folders unless `arrange` says otherwise.
 */
export async function treeDataset(
  name: string,
  trees: Trees,
  options: LoadOptions,
  arrange: (trees: Trees, options: LoadOptions) => Halves = arrangeHalves,
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
    const { classes, train, test, notices } = arrange(trees, options)
    const total = train.paths.length + test.paths.length
    const load = ({ tree, paths, labels }: Half, before: number) =>
      encodedSplit(
        {
          labels,
          channels: 3,
          nameOf: (index) => tree.nameOf?.(paths[index]!) ?? `${tree.source}/${paths[index]}`,
          read: (index) => tree.read(paths[index]!),
        },
        { ...options, onProgress: (done) => options.onProgress?.(before + done, total) },
      )
    const trainHalf = await load(train, 0)
    const testHalf = await load(test, train.paths.length)
    return {
      name,
      classes,
      channels: 3,
      train: trainHalf.split,
      test: testHalf.split,
      notices: [...notices, ...trainHalf.notices, ...testHalf.notices],
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

function arrangeHalves(trees: Trees, options: LoadOptions): Halves {
  const { classes, test, notices, ...arranged } = arrangeClassFolders(trees.train)
  const train = { ...arranged.train, tree: trees.train }
  if (test !== undefined) return { classes, train, test: { ...test, tree: trees.train }, notices }
  if (trees.test !== undefined) {
    const half = arrangeTestHalf(trees.test, classes)
    const beside = besideNotice(trees.test)
    return { classes, train, test: { ...half, tree: trees.test }, notices: [...notices, beside, ...half.notices] }
  }
  const { notice, ...halves } = holdOutOf(train, options)
  return { classes, ...halves, notices: [...notices, notice] }
}

export const besideNotice = (test: ImageTree) =>
  `the test images are those of ${test.source}, which lies beside the training images`

/** Holds a share of each class out for testing. Throws DATA where there are too few images for that. */
export function holdOutOf(
  train: Half,
  { holdOut: share = defaultShare, seed = 0 }: LoadOptions,
): { train: Half; test: Half; notice: string } {
  const { tree } = train
  const halves = holdOut(train, share, seed)
  const held = halves.test.paths.length
  if (held === 0) {
    const hint = 'give every class at least two images, or a test half of its own'
    throw new AutoprogError('DATA', `${tree.source} holds too few images to keep some for testing`, { hint })
  }
  const notice = `no test half was found: ${held} of ${train.paths.length} images are held out for testing (${Number((share * 100).toFixed(2))}% of each class, seed ${seed})`
  return { train: { ...halves.train, tree }, test: { ...halves.test, tree }, notice }
}
