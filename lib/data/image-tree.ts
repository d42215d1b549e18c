/** Datasets made of image files in class folders, wherever those files lie. */
import { AutoprogError, expected } from '../errors.js'
import { arrangeClassFolders, arrangeTestHalf, holdOut, type LabelledPaths, type Listing } from './class-folders.js'
import type { Dataset, LoadOptions, Split } from './dataset.js'
import { decodeAhead, encodedSplit } from './encoded.js'
import type { Fault } from './image-fault.js'

/** A tree of files that can be read. */
export interface ImageTree extends Listing {
  /** The bytes of a file; rejects with IMAGE where they cannot be had. */
  read(path: string): Promise<Uint8Array>
  /** Releases what the tree holds open; harmless when repeated. */
  close(): Promise<void>
}

/**
 * The dataset as it is listed: nothing is read yet, and images are decoded on demand. Closes the trees where it fails.
 * Images have three channels, as in torchvision's ImageFolder.
 */
export async function listTrees(
  name: string,
  trees: { train: ImageTree; test?: ImageTree | undefined },
  options: Pick<LoadOptions, 'holdOut' | 'seed'>,
): Promise<Dataset> {
  const close = async () => {
    await trees.train.close()
    await trees.test?.close()
  }
  try {
    const { classes, train, test, notices, faults } = arrangeHalves(trees, options)
    const split = (tree: ImageTree, { paths, labels }: LabelledPaths) =>
      encodedSplit({
        labels,
        channels: 3,
        nameOf: (index) => `${tree.source}/${paths[index]}`,
        read: (index) => tree.read(paths[index]!),
      })
    return {
      ...{ name, classes, channels: 3, notices, faults, close },
      train: split(trees.train, train),
      test: split(test.tree, test),
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** The dataset with its halves decoded and held in memory where that serves, as `decodeAhead` says. Closes it where that fails. */
export async function decodeDataset(dataset: Dataset, options: LoadOptions): Promise<Dataset> {
  const total = dataset.train.length + dataset.test.length
  const decode = (split: Split, before: number) =>
    decodeAhead(split, { ...options, onProgress: (done) => options.onProgress?.(before + done, total) })
  try {
    const train = await decode(dataset.train, 0)
    const test = await decode(dataset.test, dataset.train.length)
    const notices = [...dataset.notices, ...train.notices, ...test.notices]
    return { ...dataset, train: train.split, test: test.split, notices }
  } catch (error) {
    await dataset.close()
    throw error
  }
}

function arrangeHalves(
  trees: { train: ImageTree; test?: ImageTree | undefined },
  { holdOut: share = 0.1, seed = 0 }: LoadOptions,
) {
  if (!(share > 0 && share < 1)) {
    throw new AutoprogError('CONFIG', expected('a number above 0 and below 1', 'holdOut', share))
  }
  const { classes, train, test, notices, ...arranged } = arrangeClassFolders(trees.train)
  const faults = named(trees.train, arranged.faults)
  if (test !== undefined) return { classes, train, test: { ...test, tree: trees.train }, notices, faults }
  if (trees.test !== undefined) {
    const beside = `the test images are those of ${trees.test.source}, which lies beside the training images`
    const half = arrangeTestHalf(trees.test, classes)
    return {
      ...{ classes, train, test: { ...half, tree: trees.test } },
      notices: [...notices, beside, ...half.notices],
      faults: [...faults, ...named(trees.test, half.faults)],
    }
  }
  const halves = holdOut(train, share, seed)
  const held = halves.test.paths.length
  if (held === 0) {
    const hint = 'give every class at least two images, or a test half of its own'
    throw new AutoprogError('DATA', `${trees.train.source} holds too few images to keep some for testing`, { hint })
  }
  const notice = `no test half was found: ${held} of ${train.paths.length} images are held out for testing (${Number((share * 100).toFixed(2))}% of each class, seed ${seed})`
  return {
    ...{ classes, train: halves.train, test: { ...halves.test, tree: trees.train } },
    notices: [...notices, notice],
    faults,
  }
}

const named = ({ source }: ImageTree, faults: readonly Fault[]): Fault[] =>
  faults.map((fault) => ({ ...fault, name: `${source}/${fault.name}` }))
