/** How a session is set up: its options, their defaults, and what they may be. */
import { AutoprogError, checkOptions, expected } from '../errors.js'
import type { Model } from '../models/model.js'
import type { Device } from '../native.js'
import type { Settings } from './batch.js'
import { cachedMicroBatch } from './micro-batches.js'
import type { Precision } from './request.js'
import { precisions } from './request.js'

export interface OptimizerOptions {
  /** 0.9 and 0.999 unless given. */
  betas?: readonly [number, number]
  /** 1e-8 unless given. */
  epsilon?: number
  /** Of matrices and kernels; 0.05 unless given. */
  weightDecay?: number
  /** Largest global gradient norm; none unless given. */
  clip?: number | null
  /** Decays of the moving averages kept beside the weights; none unless given. */
  averages?: readonly number[]
}

export interface SessionOptions {
  device: Device
  model: Model
  /** 'fp32' unless given. With 'bf16' and 'fp16' products and attention run in reduced precision, the rest in f32. */
  precision?: Precision
  /** Dynamic loss scaling of 'fp16'. */
  lossScale?: LossScaleOptions
  /** Of the first weights and of stochastic depth's draws; 0 unless given. */
  seed?: number
  optimizer?: OptimizerOptions
  /** Weight of the uniform distribution in targets given as class indices; 0 unless given. */
  labelSmoothing?: number
  /** Weight of the loss of the classes in a network with a head for tokens; 1 unless given. */
  classWeight?: number
  /** Weight of the loss of the tokens, where their targets are given; 0.5 unless given. */
  denseWeight?: number
  /** The first weights by the names of the parameters; drawn by the seed unless given. */
  weights?: ReadonlyMap<string, Float32Array>
  /** false: forward passes alone, in a quarter of the memory; true unless given. */
  training?: boolean
}

export interface LossScaleOptions {
  /** Factor on the loss at the start; 2^16 unless given. */
  initial?: number
  /** Good steps in a row after which the scale grows; 2,000 unless given. */
  interval?: number
  /** Factor by which it grows; 2 unless given. */
  growth?: number
  /** Factor by which it shrinks after a step whose gradients overflowed, which is skipped; 0.5 unless given. */
  backoff?: number
}

/** What every call of a session shares, and the loss scale that it begins with. */
export interface SessionSettings extends Settings {
  readonly initialScale: number
  /** Whether there are gradients and moments. */
  readonly training: boolean
}

/** Fills in what is not given. Throws CONFIG for what no session can have. */
export function resolveOptions(options: SessionOptions): SessionSettings {
  checkSessionOptions(options)
  return settingsOf(options)
}

function checkSessionOptions(options: SessionOptions): void {
  checkOptions('the options of a session', options, {
    ...{ device: 'mapping', model: 'mapping', precision: 'string', lossScale: 'mapping', seed: 'number' },
    ...{
      optimizer: 'mapping',
      labelSmoothing: 'number',
      classWeight: 'number',
      denseWeight: 'number',
      training: 'boolean',
      weights: 'map',
    },
  })
  const { device, model, optimizer = {}, lossScale = {} } = options
  if (typeof device?.handle !== 'object' || device.handle === null)
    throw new AutoprogError('CONFIG', expected('a device of openDevice', 'device', device))
  if (!Array.isArray(model?.parameters) || typeof model.build !== 'function')
    throw new AutoprogError('CONFIG', expected('a model of createModel', 'model', model))
  checkOptions(
    'optimizer',
    optimizer,
    { betas: 'numbers', epsilon: 'number', weightDecay: 'number', clip: 'number', averages: 'numbers' },
    ['clip'],
  )
  if (optimizer.betas !== undefined && optimizer.betas.length !== 2)
    throw new AutoprogError('CONFIG', expected('two numbers', 'betas', optimizer.betas))
  checkOptions('lossScale', lossScale, {
    ...{ initial: 'number', interval: 'number', growth: 'number', backoff: 'number' },
  })
}

function settingsOf({
  device,
  precision = 'fp32',
  seed = 0,
  optimizer = {},
  labelSmoothing = 0,
  classWeight = 1,
  denseWeight = 0.5,
  lossScale = {},
  training = true,
}: SessionOptions): SessionSettings {
  const { initial = 2 ** 16, interval = 2000, growth = 2, backoff = 0.5 } = lossScale
  const { betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0.05, clip = null, averages = [] } = optimizer
  if (!precisions.includes(precision))
    throw new AutoprogError('CONFIG', expected(`one of ${precisions.join(', ')}`, 'precision', precision))
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new AutoprogError('CONFIG', expected('a non-negative integer', 'seed', seed))
  const within = (name: string, value: number, low: number, high: number) => {
    if (!(value >= low && value < high))
      throw new AutoprogError('CONFIG', expected(`a number from ${low} to below ${high}`, name, value))
  }
  within('labelSmoothing', labelSmoothing, 0, 1)
  within('classWeight', classWeight, Number.MIN_VALUE, Infinity)
  within('denseWeight', denseWeight, Number.MIN_VALUE, Infinity)
  for (const [index, beta] of betas.entries()) within(`beta${index + 1}`, beta, 0, 1)
  for (const [index, decay] of averages.entries()) within(`the decay of ema${index}`, decay, 0, 1)
  within('epsilon', epsilon, 0, 1)
  within('weightDecay', weightDecay, 0, Infinity)
  within('lossScale.initial', initial, Number.MIN_VALUE, 2 ** 64)
  within('lossScale.growth', growth, 1, Infinity)
  within('lossScale.backoff', backoff, Number.MIN_VALUE, 1)
  if (!Number.isInteger(interval) || interval < 1)
    throw new AutoprogError('CONFIG', expected('a positive integer', 'lossScale.interval', interval))
  if (clip !== null) within('clip', clip, Number.MIN_VALUE, Infinity)
  return {
    ...{ precision, training, classWeight, denseWeight },
    lossScale: { growth, backoff, interval },
    initialScale: initial,
    defaultMicroBatch: device.kind === 'cpu' ? cachedMicroBatch : (batch) => batch,
    seed,
    averages: [...averages],
    smoothing: labelSmoothing,
    betas,
    epsilon,
    weightDecay,
    clip: clip ?? 0,
  }
}
