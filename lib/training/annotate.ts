/** Label maps of a dataset's training images, made by a trained network (Jiang et al., 2021): its head at every position. */
import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { createLabelWriter } from '../data/labels/label-writer.js'
import type { Labels } from '../data/labels/token-labels.js'
import { createLoader } from '../data/loader.js'
import type { LoadOptions } from '../data/source/dataset.js'
import { portableNames } from '../data/source/image-names.js'
import { AutoprogError, checkKind, checkOptions, expected } from '../errors.js'
import { checkResolution } from '../models/layers.js'
import { hostBytes, hostRelease } from '../native.js'
import type { WeightsName } from '../session/batch.js'
import type { SessionState } from '../session/grow.js'
import { allLayers } from '../session/session.js'
import { workersOf } from './preparation.js'
import { openTrained } from './trained.js'

export interface AnnotateOptions extends Pick<LoadOptions, 'signal' | 'onListing'> {
  /** Pixels of an image's sides; what the run evaluated at unless given. */
  resolution?: number
  /** Classes kept at every position; 5, or all where there are fewer, unless given. */
  top?: number
  /** Images of a batch; the run's of evaluation unless given. */
  batch?: number
  /** Which copy of the weights; 'model' unless given. */
  weights?: WeightsName
  /** Begins anew where what an interrupted call has left is of other maps. */
  force?: boolean
  /** Told now and then how many images are decoded, where all are decoded ahead, … */
  onReading?: (done: number, total: number) => void
  /** … and how many have their map. */
  onProgress?: (done: number, total: number) => void
}

export interface AnnotateResult {
  readonly images: number
  /** Of them, images whose maps an earlier call had made. */
  readonly resumedFrom: number
  readonly classes: number
  readonly top: number
  /** Positions on a side of a map. */
  readonly grid: number
  readonly resolution: number
  readonly bytes: number
  readonly notices: readonly string[]
}

/**
 * Writes the maps of all training images of `data` to one file, as `tokenLabels.maps` of a recipe takes it. Every image is
 * seen whole, made square. What is done when it is interrupted lies beside the file, and the same call goes on from there.
 * Throws CHECKPOINT where the run has no checkpoint, CONFIG for options out of range, DATA where the data has other classes or the
 * file cannot be written, and the signal's reason.
 */
export async function annotate(
  run: string,
  data: string,
  file: string,
  options: AnnotateOptions = {},
): Promise<AnnotateResult> {
  for (const [subject, path] of Object.entries({ 'the run': run, 'the data': data, 'the file to write': file }))
    checkKind('path', subject, path)
  checkOptions('the options of an annotation', options, {
    ...{ resolution: 'number', top: 'number', batch: 'number', weights: 'string', force: 'boolean', signal: 'signal' },
    ...{ onListing: 'function', onReading: 'function', onProgress: 'function' },
  })
  const { signal, onListing, onReading: onRead, onProgress, weights = 'model', force = false } = options
  const trained = await openTrained(run, {
    data,
    ...(signal && { signal }),
    ...(onListing && { onListing }),
    ...(onRead && { onProgress: onRead }),
  })
  const { config, dataset, session } = trained
  const { train, classes } = dataset
  const notices = [...trained.notices]
  try {
    const { model } = session
    const { resolution = trained.resolution, batch = config.evaluation.batch } = options
    const top = topOf(options.top, classes.length)
    checkResolution(model, resolution)
    const layers = allLayers(model)
    const answer = (images: Uint8Array, shape: readonly number[]) =>
      session.forward({ images: { data: images, shape }, layers, resolution, weights, positions: true })
    // One black image shows how many positions there are.
    const probe = await answer(new Uint8Array(resolution ** 2 * model.channels), [
      1,
      resolution,
      resolution,
      model.channels,
    ])
    const grid = Math.sqrt(probe.tokenLogits!.length / classes.length)
    const loader = createLoader(train, {
      ...{ batch, seed: 0, shuffle: false, workers: workersOf(config) },
      evaluation: { fraction: 1, filter: config.augmentation.filter, stretch: true },
      allocate: hostBytes(session.device),
      onBroken: (message) => notices.push(message),
    })
    const made = {
      data: dataset.name,
      model: model.name,
      weights: `${weights} ${digestOf(trained.tensors, weights)}`,
      resolution: String(resolution),
    }
    const names = await portableNames(train)
    const writer = await createLabelWriter(file, { names, shape: [top, grid, grid], classes, made }, force)
    try {
      const resumedFrom = writer.done
      const first = Math.floor(resumedFrom / batch)
      onProgress?.(resumedFrom, train.length)
      for await (const { step, images, height, width, channels, labels } of loader.batches({
        firstStep: first,
        sizeOf: () => resolution,
        signal,
      })) {
        const { tokenLogits } = await answer(images, [labels.length, height, width, channels])
        hostRelease(images)
        await writer.write(step * batch, await bestClasses(tokenLogits!, labels.length, classes.length, top))
        onProgress?.(Math.min(train.length, step * batch + labels.length), train.length)
      }
      const { bytes } = await writer.finish()
      const counts = { images: train.length, resumedFrom, classes: classes.length }
      return { ...counts, top, grid, resolution, bytes, notices }
    } finally {
      await writer.close()
    }
  } finally {
    await trained.close()
  }
}

function topOf(top: number | undefined, classes: number): number {
  if (top === undefined) return Math.min(5, classes)
  if (Number.isInteger(top) && top >= 1 && top <= classes) return top
  throw new AutoprogError('CONFIG', expected(`an integer from 1 to the ${classes} classes`, 'top', top))
}

/** What the maps depend on besides the images: every value of the weights used. */
function digestOf(tensors: SessionState, weights: WeightsName): string {
  const arena = weights === 'model' ? 'weights' : weights
  const hash = createHash('sha256')
  for (const [name, { values }] of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1)))
    if (name.startsWith(`${arena}/`))
      hash.update(name).update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  return hash.digest('hex').slice(0, 16)
}

/** Values looked at between two turns of the event loop: about ten milliseconds. */
const slice = 2 ** 19

/**
 * The `top` most likely classes of every position with their probabilities (B, top, positions), best first and of equal ones the lower,
 * from logits (B, positions, classes).
 */
async function bestClasses(logits: Float32Array, batch: number, classes: number, top: number): Promise<Labels> {
  const rows = logits.length / classes
  const positions = rows / batch
  const result = { classes: new Int32Array(rows * top), scores: new Float32Array(rows * top) }
  const best = new Int32Array(top)
  const perTurn = Math.max(1, Math.floor(slice / classes))
  for (let row = 0; row < rows; row++) {
    if (row % perTurn === perTurn - 1) await setImmediate()
    const values = logits.subarray(row * classes, (row + 1) * classes)
    rank(values, best)
    const largest = values[best[0]!]!
    let sum = 0
    for (let i = 0; i < classes; i++) sum += Math.exp(values[i]! - largest)
    if (!Number.isFinite(sum))
      throw new AutoprogError('NUMERIC', 'The network gives logits that are not finite', {
        hint: 'Annotate with another checkpoint, or with --weights ema0.',
      })
    const [image, position] = [Math.floor(row / positions), row % positions]
    for (let k = 0; k < top; k++) {
      const at = (image * top + k) * positions + position
      result.classes[at] = best[k]!
      result.scores[at] = Math.exp(values[best[k]!]! - largest) / sum
    }
  }
  return result
}

/** The places of the largest values, in falling order. */
function rank(values: Float32Array, best: Int32Array): void {
  let count = 0
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!
    if (count === best.length && !(value > values[best[count - 1]!]!)) continue
    if (count < best.length) count++
    let k = count - 1
    for (; k > 0 && value > values[best[k - 1]!]!; k--) best[k] = best[k - 1]!
    best[k] = i
  }
}
