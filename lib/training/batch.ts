import type { Mix } from '../data/mix.js'
import { AutoprogError, expected } from '../errors.js'
import { checkResolution } from '../models/layers.js'
import type { Model } from '../models/model.js'
import type { Values } from '../native.js'
import type { LabelMapOptions } from './label-maps.js'
import { checkLabelMaps, labelMapValues } from './label-maps.js'
import { boxShare, checkBox, checkErase, mixValues } from './mixing.js'
import type { Mode, ProgramRequest, ProgramSettings } from './programs.js'
import { drawsOnDevice, modes } from './programs.js'

/** Which copy of the parameters: the trained one, or a moving average. */
export type WeightsName = 'model' | `ema${number}`

/** What every call of a session shares. */
export interface Settings extends ProgramSettings {
  /** The micro-batch of a batch, where none is asked for. */
  defaultMicroBatch: (batch: number) => number
  readonly seed: number
  readonly smoothing: number
  readonly betas: readonly [number, number]
  readonly epsilon: number
  readonly weightDecay: number
  readonly clip: number
}

/** Images (B, H, W, C): 8-bit ones are normalised on the device, float ones are taken as already normalised. */
export interface ImageBatch {
  readonly data: Uint8Array | Float32Array
  readonly shape: readonly number[]
  /** For 8-bit images: top, left and flip of each (B, 3) within the image padded by `pad`; whole images unless given. */
  readonly crops?: Int32Array
  /** Black pixels around each image before it is cropped; 0 unless given. */
  readonly pad?: number
}

export interface BatchOptions {
  images: ImageBatch
  /** Class indices (B) or soft targets (B, classes). */
  targets?: Int32Array | Float32Array
  /** Blocks that run, counted from the input; all unless given. */
  layers?: readonly number[]
  /** Side of the images that the network sees; 8-bit images of another size are resized. Their own side unless given. */
  resolution?: number
  /** Part of the batch that is computed at once: an even divisor of it. Chosen by size unless given. */
  microBatch?: number
  weights?: WeightsName
  /**
   * The forward pass of evaluation (the default) or of training: batch norm then takes the batch's own statistics, without
   * moving the running ones, which steps and gradients do.
   */
  mode?: Mode
  /** Stochastic depth: keep or drop (1 or 0) of each block's two branches for each image (depth, 2, B). */
  keepMask?: Uint8Array
  /** Probability with which each block's branches were kept (depth), with `keepMask`. */
  keepProbability?: readonly number[]
  /** Stochastic depth drawn on the device: the rate of the last block; the first has 0, linear between. */
  stochasticDepth?: number
  /** Random erasing: the box of each image (B, 4: top, left, height, width) that becomes normal noise; height 0 for none. */
  erase?: Int32Array
  /** Mixup or CutMix of images i and B - 1 - i and of their targets, after erasing. */
  mix?: Mix
  /**
   * MixToken (Jiang et al., 2021): tokens inside of the box [top, left, bottom, right], on the grid of the token logits, come
   * from image B - 1 - i; class targets are mixed by their share, token targets stay those of their own images.
   */
  mixBox?: readonly [number, number, number, number] | null
  /** Soft targets of every token (B, tokens, classes); the loss of tokens is left out unless these or label maps are given. */
  tokenTargets?: Float32Array
  /** What the targets of every token are made of instead: the label maps of the pictures, and the parts that images show. */
  labelMaps?: LabelMapOptions
  /** Address of this batch's draws; any non-negative integer. */
  step?: number
  learningRate?: number
  /** Of the images that the network sees: normalised, erased and mixed. */
  imageGradient?: boolean
  /**
   * Gives as `tokenLogits` what the network's head says at every position (B, positions, classes), in rows of the image: of a
   * vision transformer at its patches, of a ResNet on its last feature map, of a VOLO its head for tokens.
   */
  positions?: boolean
}

type Common = Pick<
  BatchOptions,
  | 'images'
  | 'layers'
  | 'resolution'
  | 'microBatch'
  | 'keepMask'
  | 'keepProbability'
  | 'stochasticDepth'
  | 'erase'
  | 'mix'
  | 'mixBox'
  | 'tokenTargets'
  | 'labelMaps'
  | 'step'
>
export type ForwardOptions = Common & Pick<BatchOptions, 'targets' | 'weights' | 'mode' | 'positions'>
export type GradientOptions = Common & { targets: Int32Array | Float32Array; imageGradient?: boolean }
export type StepOptions = Common & { targets: Int32Array | Float32Array; learningRate: number }

/** Checks a call's arguments and turns them into a program request and the values of its inputs. */
export function prepare(
  kind: ProgramRequest['kind'],
  options: BatchOptions,
  model: Model,
  settings: Settings,
): { request: ProgramRequest; values: Values } {
  const { batch, images, resolution, values: imageValues } = prepareImages(options, model)
  const layers = checkLayers(options.layers, model)
  const { targets, values: targetValues } = prepareTargets(kind, options.targets, batch, model)
  const { keep, values: keepValues } = prepareKeep(options, batch, model)
  const { erase } = options
  const { mix, values: mixedValues } = prepareMix(options, resolution, model)
  const { tokenTargets, values: tokenValues } = prepareTokenTargets(kind, options, batch, resolution, model, settings)
  if (erase !== undefined) checkErase(erase, batch, resolution)
  const request: ProgramRequest = {
    kind,
    batch,
    microBatch: checkMicroBatch(options.microBatch, batch) ?? settings.defaultMicroBatch(batch),
    images,
    resolution,
    layers,
    targets,
    smoothing: targets === 'labels' && kind !== 'forward' ? settings.smoothing : 0,
    keep,
    erase: erase !== undefined,
    mix,
    tokenTargets,
    mode: kind === 'forward' ? checkMode(options.mode) : 'train',
    weights: checkWeights(options.weights, settings.averages),
    imageGradient: options.imageGradient ?? false,
    positions: kind === 'forward' && (options.positions ?? false),
  }
  const values: Values = {}
  Object.assign(values, imageValues, targetValues, keepValues, mixedValues, tokenValues)
  if (erase !== undefined) values.erase = erase
  if (drawsOnDevice(request)) Object.assign(values, addressOf(options.step, batch, settings))
  if (kind === 'step') values.hyper = hyperOf(options.learningRate, settings)
  return { request, values }
}

function prepareImages({ images, resolution }: BatchOptions, model: Model) {
  if (typeof images !== 'object' || images === null || !Array.isArray(images.shape))
    throw new AutoprogError('SHAPE', expected('{ data, shape: [batch, height, width, channels] }', 'images', images))
  const { data, shape, pad = 0 } = images
  const [batch, height, width, channels] = shape as [number, number, number, number]
  if (
    shape.length !== 4 ||
    shape.some((extent) => !Number.isInteger(extent) || extent < 1) ||
    channels !== model.channels
  )
    throw new AutoprogError(
      'SHAPE',
      expected(`[batch, height, width, ${model.channels}]`, 'the shape of images', shape),
    )
  const eightBit = data instanceof Uint8Array
  if (!(eightBit || data instanceof Float32Array) || data.length !== batch * height * width * channels)
    throw new AutoprogError(
      'SHAPE',
      expected(
        `a Uint8Array or Float32Array of length ${batch * height * width * channels}`,
        'the data of images',
        data,
      ),
    )
  const side = resolution ?? height
  if (resolution === undefined && height !== width)
    throw new AutoprogError('SHAPE', expected('square images', 'images without a resolution', shape))
  checkResolution(model, side)
  if (!eightBit && (height !== side || width !== side))
    throw new AutoprogError('SHAPE', expected(`float images of ${side} x ${side}`, 'images', shape), {
      hint: 'Only 8-bit images are resized on the device.',
    })
  if (!Number.isInteger(pad) || pad < 0)
    throw new AutoprogError('SHAPE', expected('a non-negative integer', 'pad', pad))
  const crops = images.crops ?? wholeImages(batch, pad)
  if (!(crops instanceof Int32Array) || crops.length !== 3 * batch)
    throw new AutoprogError('SHAPE', expected(`an Int32Array of length ${3 * batch}`, 'crops', crops))
  return {
    batch,
    resolution: side,
    images: { type: eightBit ? 'u8' : 'f32', height, width, pad: eightBit ? pad : 0 } as const,
    values: { images: data, ...(eightBit && { crops }) },
  }
}

function wholeImages(batch: number, pad: number): Int32Array {
  return Int32Array.from({ length: 3 * batch }, (_, index) => (index % 3 === 2 ? 0 : pad))
}

function checkLayers(layers: readonly number[] | undefined, model: Model): number[] {
  if (layers === undefined) return Array.from({ length: model.depth }, (_, index) => index)
  const proper =
    Array.isArray(layers) &&
    layers.length > 0 &&
    layers.every(
      (layer, index) =>
        Number.isInteger(layer) && layer >= 0 && layer < model.depth && (index === 0 || layer > layers[index - 1]),
    )
  if (!proper)
    throw new AutoprogError('SHAPE', expected(`ascending block indices from 0 to ${model.depth - 1}`, 'layers', layers))
  return [...layers]
}

function prepareTargets(kind: ProgramRequest['kind'], targets: BatchOptions['targets'], batch: number, model: Model) {
  if (targets === undefined && kind === 'forward') return { targets: 'none' as const, values: {} }
  if (targets instanceof Int32Array && targets.length === batch) {
    const wrong = targets.find((label) => label < 0 || label >= model.classes)
    if (wrong !== undefined)
      throw new AutoprogError('DATA', expected(`class indices from 0 to ${model.classes - 1}`, 'targets', wrong))
    return { targets: 'labels' as const, values: { labels: targets } }
  }
  if (targets instanceof Float32Array && targets.length === batch * model.classes)
    return { targets: 'soft' as const, values: { targets } }
  throw new AutoprogError(
    'SHAPE',
    expected(
      `an Int32Array of length ${batch} or a Float32Array of length ${batch * model.classes}`,
      'targets',
      targets,
    ),
  )
}

function checkMode(mode: Mode = 'evaluate'): Mode {
  if (modes.includes(mode)) return mode
  throw new AutoprogError('CONFIG', expected(`one of ${modes.join(', ')}`, 'mode', mode))
}

/** Tokens on a side of the grid that the head for tokens looks at. Throws CONFIG where there is no such head. */
function tokenGrid(option: string, { name, tokenSize }: Model, resolution: number): number {
  if (tokenSize !== undefined) return resolution / tokenSize
  throw new AutoprogError('CONFIG', `${name} has no head for tokens, which ${option} needs`, {
    hint: 'VOLO models have one.',
  })
}

/** Only a network with a head for tokens mixes within. */
function prepareMix({ mix, mixBox }: BatchOptions, resolution: number, model: Model) {
  if (mixBox === undefined || mixBox === null)
    return mix === undefined
      ? { mix: 'none' as const, values: {} }
      : { mix: 'images' as const, values: { mix: mixValues(mix, resolution) } }
  if (mix !== undefined)
    throw new AutoprogError('CONFIG', 'Images are mixed by mix or by mixBox, not by both', { hint: 'Leave out one.' })
  const grid = tokenGrid('mixBox', model, resolution)
  const box = checkBox(mixBox, grid)
  const values = { mix: mixValues({ lambda: boxShare(box, grid) }, resolution), mixBox: Int32Array.from(box) }
  return { mix: 'tokens' as const, values }
}

function prepareTokenTargets(
  kind: ProgramRequest['kind'],
  { tokenTargets: targets, labelMaps }: BatchOptions,
  batch: number,
  resolution: number,
  model: Model,
  settings: Settings,
): { tokenTargets: ProgramRequest['tokenTargets']; values: Values } {
  if (labelMaps !== undefined) {
    if (targets !== undefined)
      throw new AutoprogError('CONFIG', 'Targets of tokens are given by tokenTargets or by labelMaps, not by both', {
        hint: 'Leave out one.',
      })
    tokenGrid('labelMaps', model, resolution)
    const { shape, logits = false } = checkLabelMaps(labelMaps, batch, model.classes)
    const smoothing = kind === 'forward' ? 0 : settings.smoothing
    return { tokenTargets: { shape, logits, smoothing }, values: labelMapValues(labelMaps) }
  }
  if (targets === undefined) return { tokenTargets: 'none', values: {} }
  const grid = tokenGrid('tokenTargets', model, resolution)
  const size = batch * grid ** 2 * model.classes
  if (targets instanceof Float32Array && targets.length === size)
    return { tokenTargets: 'given', values: { tokenTargets: targets } }
  throw new AutoprogError(
    'SHAPE',
    expected(`a Float32Array of length ${size} (${batch}, ${grid ** 2}, ${model.classes})`, 'tokenTargets', targets),
  )
}

function prepareKeep({ keepMask, keepProbability, stochasticDepth = 0 }: BatchOptions, batch: number, model: Model) {
  const { depth, branches } = model
  if (branches === 0 && (keepMask !== undefined || stochasticDepth > 0))
    throw new AutoprogError('CONFIG', `${model.name} has no stochastic depth`, {
      hint: 'Leave keepMask out, and set stochasticDepth to 0.',
    })
  if (keepMask !== undefined) {
    if (!(keepMask instanceof Uint8Array) || keepMask.length !== depth * 2 * batch)
      throw new AutoprogError(
        'SHAPE',
        expected(`a Uint8Array of length ${depth * 2 * batch} (depth, 2, batch)`, 'keepMask', keepMask),
      )
    if (keepProbability?.length !== depth || keepProbability.some((p) => !(p > 0 && p <= 1)))
      throw new AutoprogError('SHAPE', expected(`${depth} probabilities above 0`, 'keepProbability', keepProbability))
    const keep = new Float32Array(batch * 2 * depth) // (B, paths), each scaled so that the mean stays
    for (let path = 0; path < 2 * depth; path++)
      for (let image = 0; image < batch; image++)
        keep[image * 2 * depth + path] = keepMask[path * batch + image]! / keepProbability[path >> 1]!
    return { keep: 'given' as const, values: { keep } }
  }
  if (!(stochasticDepth >= 0 && stochasticDepth < 1))
    throw new AutoprogError('CONFIG', expected('a number from 0 to below 1', 'stochasticDepth', stochasticDepth))
  if (stochasticDepth === 0) return { keep: 'none' as const, values: {} }
  const rates = Array.from({ length: 2 * depth }, (_, path) =>
    depth > 1 ? (stochasticDepth * (path >> 1)) / (depth - 1) : 0,
  )
  return { keep: rates, values: {} }
}

/** Where the device's draws of this batch are: seed and step, and each image's place in the batch. */
function addressOf(step = 0, batch: number, { seed }: Settings): Values {
  if (!Number.isSafeInteger(step) || step < 0)
    throw new AutoprogError('CONFIG', expected('a non-negative integer', 'step', step))
  const halves = (value: number) => [value | 0, Math.floor(value / 2 ** 32) | 0]
  const random = Int32Array.from([...halves(seed), ...halves(step)])
  return { random, index: Int32Array.from({ length: batch }, (_, image) => image) }
}

function checkMicroBatch(microBatch: number | undefined, batch: number): number | undefined {
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

/** The arena of a copy of the parameters. Throws CONFIG for an average that the session does not keep. */
export function checkWeights(weights: WeightsName = 'model', averages: readonly number[]): 'weights' | `ema${number}` {
  if (weights === 'model') return 'weights'
  const index = /^ema(\d+)$/.exec(weights)?.[1]
  if (index === undefined || Number(index) >= averages.length)
    throw new AutoprogError(
      'CONFIG',
      expected(`model or one of ${averages.length} averages (ema0, …)`, 'weights', weights),
    )
  return `ema${Number(index)}`
}

function hyperOf(learningRate: number | undefined, { betas, epsilon, weightDecay, clip }: Settings): Float32Array {
  if (learningRate === undefined || !(learningRate >= 0 && Number.isFinite(learningRate)))
    throw new AutoprogError('CONFIG', expected('a non-negative number', 'learningRate', learningRate))
  return Float32Array.of(learningRate, weightDecay, betas[0], betas[1], epsilon, clip)
}
