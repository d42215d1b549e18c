/** Datasets made of image files in class folders, wherever those files lie. */
import { AutoprogError, expected } from '../errors.js'
import { arrangeClassFolders, arrangeTestHalf, holdOut, type LabelledPaths, type Listing } from './class-folders.js'
import type { Dataset, LoadOptions } from './dataset.js'
import { encodedSplit } from './encoded.js'

/** A tree of files that can be read. */
export interface ImageTree extends Listing {
  /** The bytes of a file; rejects with IMAGE where they cannot be had. */
  read(path: string): Promise<Uint8Array>
  /** Releases what the tree holds open; harmless when repeated. */
  close(): Promise<void>
}

/** Closes the trees where making the dataset fails. Images have three channels, as in torchvision's ImageFolder. */
export async function treeDataset(
  name: string,
  trees: { train: ImageTree; test?: ImageTree | undefined },
  options: LoadOptions,
): Promise<Dataset> {
  const close = async () => {
    await trees.train.close()
    await trees.test?.close()
  }
  try {
    const { classes, train, test, notices } = arrangeHalves(trees, options)
    const total = train.paths.length + test.paths.length
    const load = (tree: ImageTree, { paths, labels }: LabelledPaths, before: number) =>
      encodedSplit(
        {
          labels,
          channels: 3,
          nameOf: (index) => `${tree.source}/${paths[index]}`,
          read: (index) => tree.read(paths[index]!),
        },
        { ...options, onProgress: (done) => options.onProgress?.(before + done, total) },
      )
    const trainHalf = await load(trees.train, train, 0)
    const testHalf = await load(test.tree, test, train.paths.length)
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

function arrangeHalves(
  trees: { train: ImageTree; test?: ImageTree | undefined },
  { holdOut: share = 0.1, seed = 0 }: LoadOptions,
) {
  if (!(share > 0 && share < 1)) {
    throw new AutoprogError('CONFIG', expected('a number above 0 and below 1', 'holdOut', share))
  }
  const { classes, train, test, notices } = arrangeClassFolders(trees.train)
  if (test !== undefined) return { classes, train, test: { ...test, tree: trees.train }, notices }
  if (trees.test !== undefined) {
    const beside = `the test images are those of ${trees.test.source}, which lies beside the training images`
    const half = arrangeTestHalf(trees.test, classes)
    return { classes, train, test: { ...half, tree: trees.test }, notices: [...notices, beside, ...half.notices] }
  }
  const halves = holdOut(train, share, seed)
  const held = halves.test.paths.length
  if (held === 0) {
    const hint = 'give every class at least two images, or a test half of its own'
    throw new AutoprogError('DATA', `${trees.train.source} holds too few images to keep some for testing`, { hint })
  }
  const notice = `no test half was found: ${held} of ${train.paths.length} images are held out for testing (${Number((share * 100).toFixed(2))}% of each class, seed ${seed})`
  return { classes, train: halves.train, test: { ...halves.test, tree: trees.train }, notices: [...notices, notice] }
}
