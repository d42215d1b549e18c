/** What the networks have in common: parameters of their layers, checks of their numbers, and the cost of a forward pass. */
import { AutoprogError, expected } from '../errors.js'
import { costOf } from '../graph/cost.js'
import type { Graph } from '../graph/graph.js'
import { addTensor, createGraph } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { sizeOf } from '../graph/tensor.js'
import { batchNorm } from '../ops/index.js'
import type { BuildOptions, Initialization, Model, ParameterSpecification } from './model.js'

/** What every network's configuration has. */
export interface ImageConfiguration {
  imageSize: number
  /** 3 unless given. */
  channels?: 1 | 3
  classes: number
  mean?: readonly number[]
  deviation?: readonly number[]
}

const imagenet = { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] }

/** Mean and deviation of the pixels: those given, or ImageNet's. */
export function normalizationOf({ channels = 3, mean, deviation }: ImageConfiguration) {
  return {
    mean: mean ?? imagenet.mean.slice(0, channels),
    deviation: deviation ?? imagenet.deviation.slice(0, channels),
  }
}

/** A configuration for other data; statistics of the pixels do not survive another number of channels. */
export function forData<C extends ImageConfiguration>(
  configuration: C,
  data: { classes?: number; channels?: 1 | 3 },
): C {
  const same = data.channels === undefined || data.channels === (configuration.channels ?? 3)
  return { ...configuration, ...data, ...(same ? {} : { mean: undefined, deviation: undefined }) }
}

/** Far beyond every network that there is: what is larger would take all memory for its list of parameters alone. */
const largest = 2 ** 20
const mostBlocks = 2 ** 12

/**
 * Throws CONFIG unless all numbers are positive integers, and all lists are not empty and hold nothing else; `depth` and
 * `layers`, which are numbers of blocks, may be up to 4,096, all others up to 2^20.
 */
export function checkIntegers(kind: string, numbers: Readonly<Record<string, number | readonly number[]>>): void {
  for (const [key, value] of Object.entries(numbers)) {
    const subject = `${key} of the ${kind}`
    const most = key === 'depth' || key === 'layers' ? mostBlocks : largest
    const isProper = (item: unknown) => Number.isInteger(item) && (item as number) >= 1 && (item as number) <= most
    const tooLarge = (Array.isArray(value) ? value : [value]).some((item) => Number.isInteger(item) && item > most)
    const up = tooLarge ? ` up to ${most}` : ''
    if (Array.isArray(value) ? value.length === 0 || value.length > most || !value.every(isProper) : !isProper(value))
      throw new AutoprogError(
        'CONFIG',
        expected(`${Array.isArray(value) ? 'a list of positive integers' : 'a positive integer'}${up}`, subject, value),
      )
  }
}

/** Throws CONFIG unless channels, mean and deviation belong together. */
export function checkImages(kind: string, configuration: ImageConfiguration): void {
  const { channels = 3 } = configuration
  if (channels !== 1 && channels !== 3)
    throw new AutoprogError('CONFIG', expected('1 or 3', `channels of the ${kind}`, channels))
  for (const key of ['mean', 'deviation'] as const) {
    const values = configuration[key]
    if (
      values !== undefined &&
      (!Array.isArray(values) ||
        values.length !== channels ||
        values.some((value) => !Number.isFinite(value) || (key === 'deviation' && value <= 0)))
    )
      throw new AutoprogError(
        'CONFIG',
        expected(`${channels} number${channels > 1 ? 's' : ''}`, `${key} of the ${kind}`, values),
      )
  }
}

/** Throws CONFIG unless the hidden width of an MLP is whole. */
export function checkMlpRatio(kind: string, ratio: number, widths: readonly number[]): void {
  if (
    typeof ratio !== 'number' ||
    !(ratio > 0) ||
    ratio > 64 ||
    widths.some((width) => !Number.isInteger(width * ratio))
  )
    throw new AutoprogError('CONFIG', expected('a ratio that gives a whole width', `mlpRatio of the ${kind}`, ratio))
}

export const truncatedNormal: Initialization = { kind: 'truncatedNormal', deviation: 0.02 }

export const constant = (value: number): Initialization => ({ kind: 'constant', value })

/** As PyTorch starts convolutions and linear layers: uniform within 1 / sqrt(inputs of one output). */
export const fanIn = (inputs: number): Initialization => ({ kind: 'uniform', bound: 1 / Math.sqrt(inputs) })

/** Matrices and kernels decay, but no biases, norms, class token or position embedding. */
export function specify(
  name: string,
  shape: readonly number[],
  initialization: Initialization,
  block?: number,
): ParameterSpecification {
  const decayed = shape.length > 1 && name !== 'cls_token' && name !== 'pos_embed'
  return { name, shape, decayed, block, initialization, statistic: false }
}

export const normParameters = (name: string, width: number, block?: number, weight = 1) => [
  specify(`${name}.weight`, [width], constant(weight), block),
  specify(`${name}.bias`, [width], constant(0), block),
]

/** A norm's, and the running mean and variance of its channels. */
export const batchNormParameters = (name: string, width: number, block?: number, weight = 1) => [
  ...normParameters(name, width, block, weight),
  { ...specify(`${name}.running_mean`, [width], constant(0), block), statistic: true },
  { ...specify(`${name}.running_var`, [width], constant(1), block), statistic: true },
]

/** The norm whose parameters `batchNormParameters` lists: over the batch in training, by the running statistics otherwise. */
export function normalizeBatch(
  graph: Graph,
  x: Tensor,
  name: string,
  { parameter, training }: Pick<BuildOptions, 'parameter' | 'training'>,
  { relu, residual }: { relu: boolean; residual?: Tensor },
): Tensor {
  const parameters = {
    weight: parameter(`${name}.weight`),
    bias: parameter(`${name}.bias`),
    runningMean: parameter(`${name}.running_mean`),
    runningVariance: parameter(`${name}.running_var`),
  }
  const how = { training: training !== undefined, momentum: training?.momentum ?? 0, epsilon: 1e-5, relu }
  return batchNorm(graph, x, parameters, { ...how, ...(residual && { residual }) })
}

export const linearParameters = (
  name: string,
  out: number,
  into: number,
  {
    block,
    biased = true,
    initialization = truncatedNormal,
  }: { block?: number | undefined; biased?: boolean; initialization?: Initialization } = {},
) => [
  specify(`${name}.weight`, [out, into], initialization, block),
  ...(biased ? [specify(`${name}.bias`, [out], constant(0), block)] : []),
]

/** Multiply-adds of the forward pass of one image, in training as in evaluation. Throws CONFIG for a resolution that does not fit. */
export function forwardCost(model: Model, resolution: number): number {
  checkResolution(model, resolution)
  const graph = createGraph()
  const images = addTensor(graph, 'images', [1, resolution, resolution, model.channels])
  const shapes = new Map(model.parameters.map(({ name, shape }) => [name, shape]))
  model.build(graph, {
    images,
    layers: Array.from({ length: model.depth }, (_, index) => index),
    everyToken: true,
    parameter: (name, rows) => {
      const [first, ...rest] = shapes.get(name)! as [number, ...number[]]
      const shape = [rows === undefined ? first : rows[1] - rows[0], ...rest]
      return addTensor(graph, name, shape, { arena: 'weights', offset: 0 })
    },
  })
  return costOf(graph)
}

/** Elements of all parameters; statistics are none. */
export function countParameters(model: Model): number {
  return model.parameters.reduce((sum, { shape, statistic }) => sum + (statistic ? 0 : sizeOf(shape)), 0)
}

/** Pixels on a side: an activation of more is beyond any memory, and no image that is read is larger. */
const largestResolution = 2 ** 14

/** Throws CONFIG unless the network can run at this resolution. */
export function checkResolution(model: Pick<Model, 'name' | 'resolutionStep'>, resolution: number): void {
  const { name, resolutionStep } = model
  const fits = Number.isInteger(resolution) && resolution >= resolutionStep && resolution % resolutionStep === 0
  if (fits && resolution <= largestResolution) return
  const most = Math.floor(largestResolution / resolutionStep)
  const nearest = Math.min(most, Math.max(1, Math.round(resolution / resolutionStep) || 1)) * resolutionStep
  throw new AutoprogError(
    'CONFIG',
    expected(
      `a multiple of ${resolutionStep} pixels up to ${most * resolutionStep}`,
      `the resolution of ${name}`,
      resolution,
    ),
    { hint: `The nearest that fits is ${nearest}.` },
  )
}
