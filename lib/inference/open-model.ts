/** A trained model, opened to be asked. */
import { createLanes } from '../data/concurrent.js'
import { decodingLanes } from '../data/image/decode.js'
import { AutoprogError, checkKind, checkOptions, expected } from '../errors.js'
import { softmax } from '../evaluation/guesses.js'
import type { TrainedModel } from '../models/model-file.js'
import type { Device } from '../native.js'
import { openDevice } from '../native.js'
import { createSession } from '../session/session.js'
import { gather } from './gather.js'
import { type ImageSource, pixelsOf } from './source.js'
import { readTrained } from './trained-file.js'

export interface OpenOptions {
  /** A device, which is left open, or the name of one to open: `auto` unless given. */
  device?: Device | string
  /** Images computed together at most; 32 unless given. */
  batch?: number
  /** Milliseconds that an image waits for others that are being decoded; 2 unless given. */
  maxWait?: number
}

/** One guess: the class by its name and its place, and how sure the model is, in [0, 1]. */
export interface Prediction {
  readonly label: string
  readonly index: number
  readonly probability: number
}

export interface ClassifyOptions {
  /** How many guesses; 5 unless given, or as many as there are classes. */
  top?: number
}

export interface OpenedModel {
  /** What the model's file says of it. */
  readonly description: TrainedModel
  /** The names of the classes, or their numbers where nobody knows these. */
  readonly classes: readonly string[]
  readonly notices: readonly string[]
  /**
   * The likeliest classes, the likeliest first. Calls may overlap: they are computed together. Of several images in their
   * order; where one is broken all of the call is refused. Throws IMAGE for a broken image, SHAPE for what is none.
   */
  classify(source: ImageSource, options?: ClassifyOptions): Promise<Prediction[]>
  classify(sources: readonly ImageSource[], options?: ClassifyOptions): Promise<Prediction[][]>
  /** What the network says of every class, (classes) an image, before it is made probabilities. */
  logits(source: ImageSource): Promise<Float32Array>
  logits(sources: readonly ImageSource[]): Promise<Float32Array[]>
  /** The vector that the head makes its guesses of, for search and clustering: the class token, or the mean of the last map. */
  features(source: ImageSource): Promise<Float32Array>
  features(sources: readonly ImageSource[]): Promise<Float32Array[]>
  /** Ends once all that was asked is answered; harmless when repeated. */
  close(): Promise<void>
}

/**
 * Opens a model file, or the best weights of a run's folder. Throws CHECKPOINT where there is no model or it is damaged,
 * DEVICE and MEMORY where it cannot be computed.
 */
export async function openModel(path: string, options: OpenOptions = {}): Promise<OpenedModel> {
  checkKind('path', 'the model', path)
  const { batch = 32, maxWait = 2 } = checked(options)
  const { description, model, weights, notices } = await readTrained(path)
  const [device, own] = await deviceOf(options.device)
  const session = await createSession({
    device,
    model,
    precision: description.precision,
    training: false,
    weights,
  }).catch(async (error) => {
    if (own) await device.close()
    throw error
  })
  const { resolution, channels, crop, interpolation, classCount } = description
  const classes = description.classes ?? Array.from({ length: classCount }, (_, index) => String(index))
  const evaluation = { fraction: crop, filter: interpolation }
  const side = { channels, size: resolution, evaluation }
  const bytes = resolution * resolution * channels

  interface Item {
    readonly pixels: Uint8Array
    readonly features: boolean
  }
  const compute = async (items: readonly Item[]) => {
    const size = paddedSize(items.length, batch)
    const data = new Uint8Array(size * bytes)
    for (const [index, { pixels }] of items.entries()) data.set(pixels, index * bytes)
    const wanted = items.some(({ features }) => features)
    const { logits, features } = await session.forward({
      images: { data, shape: [size, resolution, resolution, channels] },
      ...(wanted && { features: true }),
    })
    const width = features && features.length / size
    return items.map((_, index) => ({
      logits: logits.slice(index * classCount, (index + 1) * classCount),
      features: features?.slice(index * width!, (index + 1) * width!),
    }))
  }
  const gathered = gather(compute, { batch, maxWait })
  const lanes = createLanes(decodingLanes)
  let closed = false
  const ask = async (source: ImageSource, features = false) => {
    if (closed) throw new AutoprogError('DEVICE', 'The model is closed')
    const arrived = gathered.announce()
    try {
      const pixels = await lanes(() => pixelsOf(source, side))
      const answer = gathered.compute({ pixels, features })
      arrived()
      return await answer
    } finally {
      arrived()
    }
  }
  const each = async <T>(given: ImageSource | readonly ImageSource[], one: (source: ImageSource) => Promise<T>) =>
    Array.isArray(given) ? Promise.all(given.map(one)) : one(given as ImageSource)
  const guess = (logits: Float32Array, top: number): Prediction[] =>
    best(softmax(logits), top).map(({ index, value }) => ({ label: classes[index]!, index, probability: value }))

  return {
    ...{ description, classes, notices },
    classify: (async (given: ImageSource | readonly ImageSource[], { top = 5 }: ClassifyOptions = {}) => {
      if (!Number.isSafeInteger(top) || top < 1)
        throw new AutoprogError('CONFIG', expected('a positive integer', 'top', top))
      return each(given, async (source) => guess((await ask(source)).logits, top))
    }) as OpenedModel['classify'],
    logits: ((given: ImageSource | readonly ImageSource[]) =>
      each(given, async (source) => (await ask(source)).logits)) as OpenedModel['logits'],
    features: ((given: ImageSource | readonly ImageSource[]) =>
      each(given, async (source) => (await ask(source, true)).features!)) as OpenedModel['features'],
    async close() {
      if (closed) return
      closed = true
      await gathered.drained()
      await session.close()
      if (own) await device.close()
    },
  }
}

function checked(options: OpenOptions): OpenOptions {
  checkKind('mapping', 'the options of a model', options)
  const { device, ...numbers } = options
  checkOptions('the options of a model', numbers, { batch: 'number', maxWait: 'number' })
  if (device !== undefined && typeof device !== 'string') checkKind('mapping', 'device', device)
  const { batch = 1, maxWait = 0 } = numbers
  if (!Number.isSafeInteger(batch) || batch < 1)
    throw new AutoprogError('CONFIG', expected('a positive integer', 'batch', batch))
  if (!(maxWait >= 0 && maxWait < 2 ** 31))
    throw new AutoprogError('CONFIG', expected('a number of milliseconds', 'maxWait', maxWait))
  return options
}

async function deviceOf(device: Device | string = 'auto'): Promise<[device: Device, own: boolean]> {
  return typeof device === 'string' ? [await openDevice(device), true] : [device, false]
}

/** A program is built for each size of batch: of few sizes, so that all are built soon. */
function paddedSize(count: number, most: number): number {
  const power = 2 ** Math.ceil(Math.log2(count))
  const between = 0.75 * power
  return Math.min(most, power >= 16 && count <= between ? between : power)
}

/** The largest values with their places, the largest first; of equal ones the first. */
export function best(values: ArrayLike<number>, count: number): { index: number; value: number }[] {
  return Array.from(values, (value, index) => ({ index, value }))
    .sort((a, b) => b.value - a.value || a.index - b.index)
    .slice(0, count)
}
