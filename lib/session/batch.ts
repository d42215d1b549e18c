import type { Kind } from '../errors.js'
import { AutoprogError, checkOptions, expected } from '../errors.js'
import type { Model } from '../models/model.js'
import type { Values } from '../native.js'
import { addressOf, drawsOnDevice } from './draws.js'
import type { ImageOptions } from './images.js'
import { prepareImages } from './images.js'
import { checkMicroBatch } from './micro-batches.js'
import type { MixOptions } from './mixing.js'
import { checkErase, prepareMix } from './mixing.js'
import type { Mode, ProgramRequest, ProgramSettings } from './request.js'
import { modes } from './request.js'
import type { DepthOptions } from './stochastic-depth.js'
import { prepareKeep } from './stochastic-depth.js'
import type { TargetOptions } from './targets.js'
import { prepareTargets } from './targets.js'
import type { TokenOptions } from './tokens.js'
import { prepareTokenTargets } from './tokens.js'

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

/** What every kind of call may be given. */
interface Common extends ImageOptions, DepthOptions, MixOptions, TokenOptions {
  /** Blocks that run, counted from the input; all unless given. */
  layers?: readonly number[]
  /** Part of the batch that is computed at once: an even divisor of it. Chosen by size unless given. */
  microBatch?: number
  /** Random erasing: the box of each image (B, 4: top, left, height, width) that becomes normal noise; height 0 for none. */
  erase?: Int32Array
  /** Address of this batch's draws; any non-negative integer. */
  step?: number
}

export interface ForwardOptions extends Common, TargetOptions {
  weights?: WeightsName
  /**
   * The forward pass of evaluation (the default) or of training: batch norm then takes the batch's own statistics, without
   * moving the running ones, which steps and gradients do.
   */
  mode?: Mode
  /**
   * Gives as `tokenLogits` what the network's head says at every position (B, positions, classes), in rows of the image: of a
   * vision transformer at its patches, of a ResNet on its last feature map, of a VOLO its head for tokens.
   */
  positions?: boolean
  /** Gives as `features` what the head makes the logits of (B, D): the class token, or the mean of the last feature map. */
  features?: boolean
}

export interface GradientOptions extends Common, Required<TargetOptions> {
  /** Of the images that the network sees: normalised, erased and mixed. */
  imageGradient?: boolean
}

export interface StepOptions extends Common, Required<TargetOptions> {
  learningRate: number
}

export type BatchOptions = ForwardOptions & Partial<GradientOptions & StepOptions>

/** Of those that are not checked whole by what reads them. */
const fields: Readonly<Partial<Record<keyof BatchOptions, Kind>>> = {
  ...{ resolution: 'number', microBatch: 'number', step: 'number', learningRate: 'number', stochasticDepth: 'number' },
  ...{ keepProbability: 'numbers', imageGradient: 'boolean', positions: 'boolean', features: 'boolean' },
}

/** Throws CONFIG or SHAPE unless the options of a call are each of its kind. */
export function checkBatch(options: BatchOptions): void {
  checkOptions('the options of a call', options, fields)
}

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
  const { tokenTargets, values: tokenValues } = prepareTokenTargets(
    kind,
    options,
    batch,
    resolution,
    model,
    settings.smoothing,
  )
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
    features: kind === 'forward' && (options.features ?? false),
  }
  const values: Values = {}
  Object.assign(values, imageValues, targetValues, keepValues, mixedValues, tokenValues)
  if (erase !== undefined) values.erase = erase
  if (drawsOnDevice(request)) Object.assign(values, addressOf(options.step, batch, settings.seed))
  if (kind === 'step') values.hyper = hyperOf(options.learningRate, settings)
  return { request, values }
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

function checkMode(mode: Mode = 'evaluate'): Mode {
  if (modes.includes(mode)) return mode
  throw new AutoprogError('CONFIG', expected(`one of ${modes.join(', ')}`, 'mode', mode))
}

/** The arena of a copy of the parameters. Throws CONFIG for an average that is not among these, where they are known. */
export function checkWeights(weights: WeightsName = 'model', averages?: readonly number[]): 'weights' | `ema${number}` {
  if (weights === 'model') return 'weights'
  const index = typeof weights === 'string' ? /^ema(\d{1,3})$/.exec(weights)?.[1] : undefined
  if (index === undefined || Number(index) >= (averages?.length ?? Infinity))
    throw new AutoprogError(
      'CONFIG',
      expected(`model or one of ${averages?.length ?? 'the'} averages (ema0, …)`, 'weights', weights),
    )
  return `ema${Number(index)}`
}

function hyperOf(learningRate: number | undefined, { betas, epsilon, weightDecay, clip }: Settings): Float32Array {
  if (learningRate === undefined || !(learningRate >= 0 && Number.isFinite(learningRate)))
    throw new AutoprogError('CONFIG', expected('a non-negative number', 'learningRate', learningRate))
  return Float32Array.of(learningRate, weightDecay, betas[0], betas[1], epsilon, clip)
}
