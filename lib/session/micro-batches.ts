/** Parts of a batch that are computed at once. Images i and B - 1 - i are always together, so that their size is even. */
import { AutoprogError, expected } from '../errors.js'

export function checkMicroBatch(microBatch: number | undefined, batch: number): number | undefined {
  if (microBatch === undefined || microBatch === batch) return microBatch
  if (!Number.isInteger(microBatch) || microBatch < 2 || microBatch % 2 !== 0 || batch % microBatch !== 0)
    throw new AutoprogError('CONFIG', expected(`an even divisor of the batch ${batch}`, 'microBatch', microBatch))
  return microBatch
}

/** Even divisors of a batch, ascending, and the batch itself. */
export function microBatches(batch: number): number[] {
  return Array.from({ length: batch }, (_, index) => index + 1).filter(
    (size) => size === batch || (size % 2 === 0 && batch % size === 0),
  )
}

/** For the processor: small enough that a layer's activations stay in its caches, large enough to fill its loops. */
export function cachedMicroBatch(batch: number): number {
  return microBatches(batch).findLast((size) => size <= 16) ?? batch
}
