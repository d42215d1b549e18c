import type { Graph } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { layerNorm, linear, linearGelu, residual, residualNorm } from '../ops/index.js'
import type { BuildOptions } from './model.js'

/** Tokens (B, …, D) to which residual branches are added one after the other. */
export interface ResidualStream {
  /** The tokens, normalised by the parameters of that name. */
  norm(name: string): Tensor
  /** The tokens themselves. */
  sum(): Tensor
  /** Adds a branch; `path` is its column of stochastic depth's factors, if any. */
  add(branch: Tensor, path?: number): void
  /** Goes on with other tokens in place of these. */
  replace(change: (tokens: Tensor) => Tensor): void
  /** What the MLP of a block makes of the tokens: the norm before it, two linear layers with GELU between. */
  mlp(prefix: string): Tensor
}

/** A branch waits for the norm that follows it, which adds it in the same pass over memory. */
export function residualStream(
  graph: Graph,
  start: Tensor,
  { parameter, keep }: Pick<BuildOptions, 'parameter' | 'keep'>,
  epsilon: number,
): ResidualStream {
  let x = start
  let branch: { value: Tensor; path: number | undefined } | undefined
  const factorOf = (path: number | undefined) => (keep && path !== undefined ? { scale: keep, path } : undefined)
  const norm = (name: string): Tensor => {
    const [gamma, beta] = [parameter(`${name}.weight`), parameter(`${name}.bias`)]
    if (branch === undefined) return layerNorm(graph, x, gamma, beta, epsilon)
    const { sum, y } = residualNorm(graph, x, branch.value, gamma, beta, epsilon, factorOf(branch.path))
    x = sum
    branch = undefined
    return y
  }
  const sum = (): Tensor => {
    if (branch !== undefined) x = residual(graph, x, branch.value, factorOf(branch.path))
    branch = undefined
    return x
  }
  return {
    norm,
    sum,
    add: (value, path) => {
      branch = { value, path }
    },
    replace: (change) => {
      x = change(sum())
    },
    mlp: (prefix) => {
      const hidden = norm(`${prefix}norm2`)
      const dense = (layer: string) =>
        [parameter(`${prefix}${layer}.weight`), parameter(`${prefix}${layer}.bias`)] as const
      return linear(graph, linearGelu(graph, hidden, ...dense('mlp.fc1')), ...dense('mlp.fc2'))
    },
  }
}
