/** What the programs of a session are asked for. */
import type { Arena } from '../graph/tensor.js'
import type { LossScaleAttributes } from '../ops/index.js'

/** What a program computes, and for which shapes; equal requests share one program. */
export interface ProgramRequest {
  readonly kind: 'forward' | 'gradients' | 'step'
  readonly batch: number
  readonly microBatch: number
  readonly images: {
    readonly type: 'u8' | 'f32'
    readonly height: number
    readonly width: number
    readonly pad: number
  }
  readonly resolution: number
  readonly layers: readonly number[]
  readonly targets: 'none' | 'labels' | 'soft'
  readonly smoothing: number
  /** Stochastic depth: none, factors given by the caller, or the rate of each path, drawn. */
  readonly keep: 'none' | 'given' | readonly number[]
  /** Whether boxes of the images are erased. */
  readonly erase: boolean
  /** Whether images and targets are mixed with those at the other end of the batch; 'tokens' are mixed within the network. */
  readonly mix: 'none' | 'images' | 'tokens'
  /** Targets of every token besides: none, given, or made of label maps. */
  readonly tokenTargets: 'none' | 'given' | LabelMapRequest
  /** Whether the forward pass is training's; that of steps and gradients always is. */
  readonly mode: Mode
  /** The arena whose weights run; steps and gradients use the model's own. */
  readonly weights: Arena
  readonly imageGradient: boolean
  /** Whether the logits at every position are given besides. */
  readonly positions: boolean
  /** Whether what the head reads is given besides. */
  readonly features: boolean
}

/** Of label maps: the best classes at each of height x width positions. */
export interface LabelMapRequest {
  readonly shape: readonly [best: number, height: number, width: number]
  readonly logits: boolean
  readonly smoothing: number
}

/** fp32, or mixed precision with the one 16-bit type or the other; fp16 scales the loss. */
export const precisions = ['fp32', 'bf16', 'fp16'] as const
export type Precision = (typeof precisions)[number]

/** The forward pass of training, with the batch's own statistics, or of evaluation. */
export const modes = ['train', 'evaluate'] as const
export type Mode = (typeof modes)[number]

/** What all programs of a session share. */
export interface ProgramSettings {
  readonly precision: Precision
  /** Weights of the two losses of a network with a head for tokens. */
  readonly classWeight: number
  readonly denseWeight: number
  /** Decays of the moving averages; their arenas are ema0, ema1, … in this order. */
  readonly averages: readonly number[]
  readonly lossScale: LossScaleAttributes
}
