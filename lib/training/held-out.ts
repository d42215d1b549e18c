import type { Evaluation } from '../data/image/transform.js'
import { createLoader } from '../data/loader.js'
import type { Split } from '../data/source/dataset.js'
import { toProbabilities } from '../evaluation/guesses.js'
import { hostBytes, hostRelease } from '../native.js'
import type { WeightsName } from '../session/batch.js'
import type { Session } from '../session/session.js'

/** Accuracy in [0, 1] and mean loss on held-out images. */
export interface Accuracy {
  readonly top1: number
  readonly top5: number
  readonly loss: number
}

export interface HeldOutOptions {
  readonly batch: number
  readonly resolution: number
  readonly layers: readonly number[]
  readonly weights: readonly WeightsName[]
  readonly evaluation: Evaluation
  readonly workers: number
  /** Show each image its mirror image too, and take the mean of both probabilities; counts and losses are not of that. */
  readonly flip?: boolean
  /** Given the probabilities (B, classes) of each batch by each copy of the weights, in order. */
  readonly onProbabilities?: (copy: number, probabilities: Float32Array, labels: Int32Array) => void
  readonly signal?: AbortSignal | undefined
  /** Told of each broken image, in a line for a human, … */
  readonly onBroken?: ((message: string) => void) | undefined
  /** … and after every batch how many images are evaluated. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined
}

/** (B, 3): whole images, left to right. */
const mirroredWhole = (batch: number) => Int32Array.from({ length: 3 * batch }, (_, index) => (index % 3 === 2 ? 1 : 0))

/** Evaluates several copies of the weights in one pass over a split, in evaluation mode; results in their order. */
export async function evaluateHeldOut(session: Session, split: Split, options: HeldOutOptions): Promise<Accuracy[]> {
  const { batch, resolution, layers, weights, evaluation, workers, signal, onProgress } = options
  const { flip = false, onProbabilities, onBroken } = options
  const allocate = hostBytes(session.device)
  const loader = createLoader(split, {
    batch,
    seed: 0,
    shuffle: false,
    evaluation,
    workers,
    allocate,
    ...(onBroken && { onBroken }),
  })
  const sums = weights.map(() => ({ correct: 0, correct5: 0, loss: 0 }))
  let done = 0
  for await (const { images, height, width, channels, labels } of loader.batches({
    sizeOf: () => resolution,
    signal,
  })) {
    const shape = [labels.length, height, width, channels]
    const shown = (copy: WeightsName, mirrored: boolean) =>
      session.forward({
        images: { data: images, shape, ...(mirrored && { crops: mirroredWhole(labels.length) }) },
        ...{ targets: labels, layers, resolution, weights: copy },
      })
    const results = await Promise.all(weights.map((copy) => shown(copy, false)))
    if (onProbabilities) {
      const { classes } = session.model
      const mirrored = flip ? await Promise.all(weights.map((copy) => shown(copy, true))) : []
      for (const [copy, { logits }] of results.entries()) {
        const own = toProbabilities(logits, classes)
        const other = mirrored[copy] && toProbabilities(mirrored[copy].logits, classes)
        onProbabilities(copy, other ? own.map((value, i) => (value + other[i]!) / 2) : own, labels)
      }
    }
    hostRelease(images)
    for (const [index, { correct, correct5, loss }] of results.entries()) {
      sums[index]!.correct += correct!
      sums[index]!.correct5 += correct5!
      sums[index]!.loss += loss! * labels.length
    }
    done += labels.length
    onProgress?.(done, split.length)
  }
  return sums.map(({ correct, correct5, loss }) => ({
    top1: correct / split.length,
    top5: correct5 / split.length,
    loss: loss / split.length,
  }))
}
