import type { Graph } from '../graph/graph.js'
import type { Shape, Tensor } from '../graph/tensor.js'

/** How a parameter starts: truncated normal (cut at two deviations), normal, uniform in ±bound, or constant. */
export type Initialization =
  | { kind: 'truncatedNormal'; deviation: number }
  | { kind: 'normal'; deviation: number }
  | { kind: 'uniform'; bound: number }
  | { kind: 'constant'; value: number }

export interface ParameterSpecification {
  /** timm's name. */
  readonly name: string
  /** timm's shape. */
  readonly shape: Shape
  /** Whether weight decay applies: matrices and kernels, but no biases, norms, class token or position embedding. */
  readonly decayed: boolean
  /** The block it belongs to, counted from the input; undefined outside of the blocks. */
  readonly block: number | undefined
  readonly initialization: Initialization
}

export interface BuildOptions {
  /** Normalised images (B, H, W, C). */
  readonly images: Tensor
  /** Blocks that run, ascending; the others are the identity. */
  readonly layers: readonly number[]
  /** The tensor of a parameter, or of `rows` of its first axis. */
  parameter(name: string, rows?: readonly [number, number]): Tensor
  /** Stochastic depth's factors (B, 2 * depth): attention and MLP of each block in turn. */
  readonly keep?: Tensor | undefined
  /**
   * Computes every token in the last block too. Only the class token reaches the logits, so training leaves the rest out;
   * FLOPs are counted with it, as the literature counts them.
   */
  readonly everyToken?: boolean
}

/** A network by its numbers: no weights, no device. */
export interface Model {
  readonly name: string
  readonly classes: number
  readonly channels: 1 | 3
  /** The resolution that the position embedding belongs to, in pixels. */
  readonly imageSize: number
  /** Resolutions must be multiples of this. */
  readonly resolutionStep: number
  /** Candidate resolutions of growth are multiples of this. */
  readonly growthMultiple: number
  /** Blocks that can run or be left out. */
  readonly depth: number
  readonly mean: readonly number[]
  readonly deviation: readonly number[]
  readonly parameters: readonly ParameterSpecification[]
  /** Builds the forward pass; returns the logits (B, classes) or (B, 1, classes). */
  build(graph: Graph, options: BuildOptions): Tensor
  /** The same network with another number of blocks. */
  withDepth(depth: number): Model
  /** The same network for other data. */
  withData(data: { classes?: number; channels?: 1 | 3 }): Model
  /** Forward multiply-adds of one image, as the literature counts them. */
  flops(options?: { depth?: number; resolution?: number }): number
  /** Elements of all parameters of the network with `depth` blocks. */
  parameterCount(depth?: number): number
}
