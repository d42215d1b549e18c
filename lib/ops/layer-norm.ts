import type { Graph, Op } from '../graph/graph.js'
import { addNode, shapeError } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { lastOf, rowsOf, sizeOf } from '../graph/tensor.js'
import { add } from './add.js'
import { defineOp, noCost } from './define.js'

type None = Record<string, never>

function checkNorm(name: string, x: Tensor, parameters: readonly (Tensor | undefined)[]) {
  for (const parameter of parameters)
    if (parameter === undefined || sizeOf(parameter.shape) !== lastOf(x))
      throw shapeError(name, parameter?.name ?? 'a parameter', [lastOf(x)], parameter?.shape ?? [])
}

/** dy, x, stats, gamma -> dx (=), dgamma (+=), dbeta (+=). */
const layerNormGradient = defineOp<None>('layerNormGradient', {
  infer: ([, x, , gamma]) => [{ shape: x!.shape }, { shape: gamma!.shape }, { shape: gamma!.shape }],
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  storage: { inputs: { 0: 'any' }, copy: { of: 0, at: 3 } },
  attributes: [],
})

const layerNormOp = defineOp<{ epsilon: number }>('layerNorm', {
  infer: ([x, gamma, beta]) => {
    checkNorm('layerNorm', x!, [gamma, beta])
    return [{ shape: x!.shape }, { shape: [rowsOf(x!), 2] }]
  },
  cost: noCost,
  gradient: ({ graph, inputs, outputs, gradients, accumulator }) => {
    const operands = [gradients[0]!, inputs[0]!, outputs[1]!, inputs[1]!]
    return [addNode(graph, layerNormGradient, operands, {}, [undefined, accumulator(1), accumulator(2)])[0]]
  },
  precision: 'full',
  storage: { outputs: { 0: 'any' } },
  attributes: ['epsilon'],
})

/** dsum, dy, sum, stats, gamma, keep? -> dx (=), dgamma (+=), dbeta (+=), dbranch (=)?; without keep, dbranch is dx. */
const residualNormGradient = defineOp<{ path: number }>('residualNormGradient', {
  infer: ([, , sum, , gamma, keep]) => {
    const shapes = [{ shape: sum!.shape }, { shape: gamma!.shape }, { shape: gamma!.shape }]
    return keep === undefined ? shapes : [...shapes, { shape: sum!.shape }]
  },
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  storage: { inputs: { 1: 'any' }, outputs: { 3: 'any' }, copy: { of: 0, at: 3 } },
  attributes: ['path'],
})

const residualNormOp = defineOp<{ epsilon: number; path: number }>('residualNorm', {
  infer: ([x, branch, gamma, beta]) => {
    checkNorm('residualNorm', x!, [gamma, beta])
    if (sizeOf(branch!.shape) !== sizeOf(x!.shape)) throw shapeError('residualNorm', 'branch', x!.shape, branch!.shape)
    return [{ shape: x!.shape }, { shape: x!.shape }, { shape: [rowsOf(x!), 2] }]
  },
  cost: noCost,
  gradient: ({ graph, inputs, outputs, attributes, gradients, accumulator }) => {
    const [, , gamma, , keep] = inputs
    const [sum, , stats] = outputs
    const parameters = [accumulator(2), accumulator(3)]
    const [dsum, dy] = gradients
    if (dsum === undefined) {
      // The last norm: nothing uses the sum itself.
      const dx = addNode(graph, layerNormGradient, [dy!, sum!, stats!, gamma!], {}, [undefined, ...parameters])[0]!
      return [dx, keep === undefined ? dx : addNode(graph, keepBranch, [dx, keep], { path: attributes.path })[0]]
    }
    const operands = [dsum, dy!, sum!, stats!, gamma!, ...(keep ? [keep] : [])]
    const [dx, , , dbranch] = addNode(graph, residualNormGradient, operands, { path: attributes.path }, [
      undefined,
      ...parameters,
    ])
    return [dx, dbranch ?? dx]
  },
  precision: 'full',
  storage: { inputs: { 1: 'any' }, outputs: { 1: 'any' } },
  attributes: ['epsilon', 'path'],
})

/** x (B, …), keep (B, paths) -> keep's column `path` times x (=); its own gradient. */
const keepBranch: Op<{ path: number }> = defineOp<{ path: number }>('keepBranch', {
  infer: ([x]) => [{ shape: x!.shape }],
  cost: noCost,
  gradient: ({ graph, inputs, attributes, gradients }) =>
    addNode(graph, keepBranch, [gradients[0]!, inputs[1]!], attributes),
  precision: 'full',
  storage: { inputs: { 0: 'any' }, outputs: { 0: 'any' } },
  attributes: ['path'],
})

/** Where a residual branch is kept: each image's factor (B, paths), and the column that is this branch's. */
export interface Keep {
  readonly scale: Tensor
  readonly path: number
}

/** x + keep * branch (B, …), where no norm follows that would add it. */
export function residual(graph: Graph, x: Tensor, branch: Tensor, keep?: Keep): Tensor {
  const kept = keep ? addNode(graph, keepBranch, [branch, keep.scale], { path: keep.path })[0]! : branch
  return addNode(graph, add, [x, kept], {})[0]!
}

/** Layer norm over the last axis: x (…, C), gamma (C), beta (C) -> (…, C). */
export function layerNorm(graph: Graph, x: Tensor, gamma: Tensor, beta: Tensor, epsilon: number): Tensor {
  return addNode(graph, layerNormOp, [x, gamma, beta], { epsilon })[0]!
}

/**
 * A residual addition and the norm after it: sum = x + keep * branch, y = norm(sum). x, branch (B, N, C); keep (B, paths)
 * holds each image's factor of each branch (0 or 1 / keepProbability), of which column `path` is this one's.
 */
export function residualNorm(
  graph: Graph,
  x: Tensor,
  branch: Tensor,
  gamma: Tensor,
  beta: Tensor,
  epsilon: number,
  keep?: Keep,
): { sum: Tensor; y: Tensor } {
  const inputs = [x, branch, gamma, beta, ...(keep ? [keep.scale] : [])]
  const [sum, y] = addNode(graph, residualNormOp, inputs, { epsilon, path: keep?.path ?? 0 })
  return { sum: sum!, y: y! }
}
