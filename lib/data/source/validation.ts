/** A part of the training half that is kept for choosing, so that the test half is left for what was chosen. */
import { AutoprogError, expected } from '../../errors.js'
import { Purpose } from '../../random.js'
import type { Dataset, LoadOptions, Split } from './dataset.js'
import { contentFingerprint } from './fingerprint.js'
import { chooseHeldOut } from './hold-out.js'
import { checkIndex } from './in-memory.js'

/** Throws CONFIG unless `share` is in [0, 1). */
export function checkValidationShare(share: number): void {
  if (share >= 0 && share < 1) return
  throw new AutoprogError('CONFIG', expected('a number of at least 0 and below 1', 'validation', share))
}

/**
 * The dataset with a share of each class's training images as its validation part, by their names and the seed: images added later
 * move none. As it was where it has such a part already, or where nothing is asked for.
 */
export function keepForValidation(
  dataset: Dataset,
  { validation: share = 0, seed = 0 }: Pick<LoadOptions, 'validation' | 'seed'>,
): Dataset {
  const { train, classes, notices } = dataset
  if (share === 0 || dataset.validation !== undefined || train.length === 0) return dataset
  const nameOf = (index: number) => train.keyOf?.(index) ?? train.nameOf(index)
  const kept = chooseHeldOut({ labels: train.labels, classes, nameOf }, share, seed, Purpose.validation)
  const pick = (value: number) => Int32Array.from(kept.keys()).filter((index) => kept[index] === value)
  const chosen = pick(1)
  if (chosen.length === 0) {
    const notice = 'there are too few images to keep some for choosing: the test images choose between the averages'
    return { ...dataset, notices: [...notices, notice] }
  }
  const notice = `${chosen.length} of ${train.length} training images are kept for choosing the best average of the weights: they neither train nor test${chosen.length > train.length / 2 ? '. So few are left to train on: is that meant (validation)?' : ''}`
  return {
    ...dataset,
    train: partOf(train, pick(0)),
    validation: partOf(train, chosen),
    notices: [...notices, notice],
  }
}

/** The images of a split at `indices`, in that order. */
function partOf(split: Split, indices: Int32Array): Split {
  const { read, fileOf, pixels, keyOf, uniform } = split
  const at = (index: number) => {
    checkIndex(index, indices.length)
    return indices[index]!
  }
  return {
    ...{ length: indices.length, labels: indices.map((index) => split.labels[index]!), uniform },
    load: async (index) => split.load(at(index)),
    ...(read && { read: async (index) => read(at(index)) }),
    ...(fileOf && { fileOf: (index) => fileOf(at(index)) }),
    ...(pixels && { pixels: (index) => pixels(at(index)) }),
    ...(keyOf && { keyOf: (index) => keyOf(at(index)) }),
    nameOf: (index) => split.nameOf(at(index)),
    fingerprint: async () => contentFingerprint(indices, Buffer.from(await split.fingerprint())),
  }
}
