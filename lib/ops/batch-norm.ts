import type { GradientContext, Graph, Storage } from '../graph/graph.js'
import { addNode, shapeError } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { formatShape, lastOf, sizeOf } from '../graph/tensor.js'
import { defineOp, noCost } from './define.js'

/** `relu` and `training` are 0 or 1. */
type TrainingAttributes = { momentum: number; epsilon: number; relu: number }
type InferenceAttributes = { epsilon: number; relu: number }

function checkBatchNorm(name: string, x: Tensor, channels: readonly Tensor[], residual: Tensor | undefined) {
  for (const { name: argument, shape } of channels)
    if (sizeOf(shape) !== lastOf(x)) throw shapeError(name, argument, [lastOf(x)], shape)
  if (residual !== undefined && formatShape(residual.shape) !== formatShape(x.shape))
    throw shapeError(name, 'residual', x.shape, residual.shape)
}

const held = (...indices: number[]): Record<number, Storage> =>
  Object.fromEntries(indices.map((index) => [index, 'any']))

/**
 * dy (…, C), x (…, C), stats (C, 2), weight (C), bias (C), y (…, C)? -> dx (=), dweight (+=), dbias (+=), dresidual (=)?.
 * In training the statistics depend on x. Where a residual stands between norm and ReLU, y says where the ReLU has let
 * through; without one that is computed again from x, which is read in any case.
 */
const batchNormGradient = defineOp<{ training: number; relu: number }>('batchNormGradient', {
  infer: ([, x, , weight, bias, y]) => {
    const shapes = [{ shape: x!.shape }, { shape: weight!.shape }, { shape: bias!.shape }]
    return y === undefined ? shapes : [...shapes, { shape: x!.shape }]
  },
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  storage: { inputs: held(0, 1, 5), outputs: held(0, 3) },
  attributes: ['training', 'relu'],
})

/** The gradients of x, weight, bias and the residual, which is input `at` where there is one. */
function gradientsOf(
  { graph, inputs, outputs, attributes, gradients, accumulator }: GradientContext<InferenceAttributes>,
  training: number,
  at: number,
): (Tensor | undefined)[] {
  const [x, weight, bias] = inputs
  const [y, stats] = outputs
  const dy = gradients[0]!
  const masked = inputs[at] !== undefined && attributes.relu === 1
  const [dx, , , dresidual] = addNode(
    graph,
    batchNormGradient,
    [dy, x!, stats!, weight!, bias!, ...(masked ? [y!] : [])],
    { training, relu: attributes.relu },
    [undefined, accumulator(1), accumulator(2)],
  )
  const results: (Tensor | undefined)[] = [dx]
  if (inputs[at] !== undefined) results[at] = masked ? dresidual : dy
  return results
}

/** x, weight, bias, residual? -> y, stats (C, 2), and with momentum > 0 both running statistics, updated in place. */
const batchNormOp = defineOp<TrainingAttributes>('batchNorm', {
  infer: ([x, weight, bias, residual], { momentum }) => {
    checkBatchNorm('batchNorm', x!, [weight!, bias!], residual)
    const shapes = [{ shape: x!.shape }, { shape: [lastOf(x!), 2] }]
    return momentum > 0 ? [...shapes, { shape: weight!.shape }, { shape: weight!.shape }] : shapes
  },
  cost: noCost,
  gradient: (context) => gradientsOf(context, 1, 3),
  precision: 'full',
  storage: { inputs: held(0, 3), outputs: held(0) },
  attributes: ['momentum', 'epsilon', 'relu'],
})

/** x, weight, bias, running mean, running variance, residual? -> y, stats (C, 2). */
const batchNormInferenceOp = defineOp<InferenceAttributes>('batchNormInference', {
  infer: ([x, weight, bias, mean, variance, residual]) => {
    checkBatchNorm('batchNormInference', x!, [weight!, bias!, mean!, variance!], residual)
    return [{ shape: x!.shape }, { shape: [lastOf(x!), 2] }]
  },
  cost: noCost,
  gradient: (context) => gradientsOf(context, 0, 5),
  precision: 'full',
  storage: { inputs: held(0, 5), outputs: held(0) },
  attributes: ['epsilon', 'relu'],
})

/** What a batch norm keeps per channel, (C) each. */
export interface BatchNormParameters {
  readonly weight: Tensor
  readonly bias: Tensor
  readonly runningMean: Tensor
  readonly runningVariance: Tensor
}

export interface BatchNormOptions {
  /** With the statistics of this micro-batch instead of the running ones. */
  readonly training: boolean
  /** Share of the micro-batch in the new running statistics; with 0 they stay as they are. */
  readonly momentum: number
  readonly epsilon: number
  /** Ends with max(0, ·). */
  readonly relu: boolean
  /** Added to what is normalised, before the ReLU: of x's shape. */
  readonly residual?: Tensor
}

/**
 * Batch norm (Ioffe and Szegedy, 2015) over all axes but the last, with the residual addition and the ReLU after it:
 * x (…, C) -> (…, C). The variance that normalises is the biased one, the one that `runningVariance` follows unbiased.
 * The running statistics lie in the weights arena and have no gradient.
 */
export function batchNorm(
  graph: Graph,
  x: Tensor,
  { weight, bias, runningMean, runningVariance }: BatchNormParameters,
  { training, momentum, epsilon, relu, residual }: BatchNormOptions,
): Tensor {
  const added = residual ? [residual] : []
  if (!training) {
    const inputs = [x, weight, bias, runningMean, runningVariance, ...added]
    return addNode(graph, batchNormInferenceOp, inputs, { epsilon, relu: Number(relu) })[0]!
  }
  const running = momentum > 0 ? [undefined, undefined, runningMean, runningVariance] : []
  const attributes = { momentum, epsilon, relu: Number(relu) }
  return addNode(graph, batchNormOp, [x, weight, bias, ...added], attributes, running)[0]!
}
