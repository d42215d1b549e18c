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
  /** A running mean or variance: part of the weights and their averages, but neither trained nor counted. */
  readonly statistic: boolean
}

export interface BuildOptions {
  /** Normalised images (B, H, W, C). */
  readonly images: Tensor
  /** Blocks that run, ascending; the others are the identity. */
  readonly layers: readonly number[]
  /** The tensor of a parameter, or of `rows` of its first axis. */
  parameter(name: string, rows?: readonly [number, number]): Tensor
  /**
   * The forward pass of training: batch norm takes the statistics of the batch, and moves the running ones towards them
   * by `momentum` (0: not at all); a head for tokens stands by itself. That of evaluation if not given.
   */
  readonly training?: { readonly momentum: number } | undefined
  /** Stochastic depth's factors (B, branches * depth): the residual branches of each block in turn. */
  readonly keep?: Tensor | undefined
  /** MixToken's box, i32 (4: top, left, bottom, right) on the grid of `tokenLogits`, where tokens are mixed. */
  readonly mixBox?: Tensor | undefined
  /**
   * Computes every token in the last block too. Only the class token reaches the logits, so training leaves the rest out;
   * FLOPs are counted with it, as the literature counts them.
   */
  readonly everyToken?: boolean
  /** Gives the logits at every position besides, as `tokenLogits`, by the head that the network has. */
  readonly positions?: boolean
}

export interface Outputs {
  /** (B, classes) or (B, 1, classes). */
  readonly logits: Tensor
  /** What the head makes the logits of, (B, D) or (B, 1, D): the class token, or the mean of the last feature map. */
  readonly features: Tensor
  /**
   * Of a head for every token, (B, tokens, classes), where the network has one; each where its own image has it. Where
   * positions were asked for, of the one head at each of them, (B, positions, classes) in rows of the image.
   */
  readonly tokenLogits?: Tensor
}

/**
 * What the blocks of a network are, which decides how it shrinks and grows: layers all alike; a VOLO's outlookers, then
 * transformers; or the stages of a ResNet, of which the first block always runs.
 */
export type BlockKinds = 'layers' | 'outlookers' | 'stages'

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
  readonly kinds: BlockKinds
  /** Blocks that can run or be left out, of each kind. */
  readonly blocks: readonly number[]
  /** All of them. */
  readonly depth: number
  /** Residual branches of a block that stochastic depth can drop. */
  readonly branches: 0 | 2
  /** Pixels on a side of what one token of `tokenLogits` stands for; undefined where there is no such head. */
  readonly tokenSize: number | undefined
  /** Whether anything depends on the batch as a whole, so that its division matters. */
  readonly batchNorm: boolean
  readonly mean: readonly number[]
  readonly deviation: readonly number[]
  readonly parameters: readonly ParameterSpecification[]
  /** What the names of block `index`'s parameters begin with, the dot included. */
  blockPrefix(index: number): string
  /** Builds the forward pass. */
  build(graph: Graph, options: BuildOptions): Outputs
  /** The same network with other numbers of blocks. */
  withBlocks(blocks: readonly number[]): Model
  /** The same network for other data. */
  withData(data: { classes?: number; channels?: 1 | 3 }): Model
  /** Forward multiply-adds of one image, as the literature counts them. */
  flops(options?: { blocks?: readonly number[]; resolution?: number }): number
  /** Elements of all parameters of the network with these blocks. */
  parameterCount(blocks?: readonly number[]): number
}
