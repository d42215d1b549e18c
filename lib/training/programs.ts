import { differentiate } from '../graph/autodiff.js'
import { compile } from '../graph/compile.js'
import type { Graph } from '../graph/graph.js'
import { addInput, addOutput, addTensor, createGraph } from '../graph/graph.js'
import { lowerPrecision } from '../graph/precision.js'
import type { Arena, Tensor } from '../graph/tensor.js'
import type { Model, Outputs } from '../models/model.js'
import type { Layout, Slot } from '../models/parameters.js'
import type { ProgramDescription } from '../native.js'
import type { LossScaleAttributes } from '../ops/index.js'
import {
  adamw,
  add,
  alignLabels,
  cast,
  countCorrect,
  crossEntropy,
  eraseImages,
  gradientNorm,
  keepScale,
  lossScale,
  mixImages,
  mixSize,
  mixTargets,
  normalizeImages,
  oneHot,
  regionSize,
  zero,
} from '../ops/index.js'

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

/** By which batch norm's running statistics move towards a batch's; PyTorch's and the paper's. */
const momentum = 0.1

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

/** Builds and compiles the graph of a request. */
export function buildProgram(
  request: ProgramRequest,
  model: Model,
  layout: Layout,
  settings: ProgramSettings,
): ProgramDescription {
  const graph = createGraph()
  const { kind, microBatch } = request
  const draws = drawsOnDevice(request) ? drawsOf(graph, microBatch) : undefined
  const mix = request.mix === 'none' ? undefined : addInput(graph, 'mix', [mixSize], 'f32', false)
  const images = regularized(graph, imagesOf(graph, request, model), request, draws, mix)
  const outputs = model.build(graph, {
    images,
    layers: request.layers,
    parameter: (name, rows) => parameterTensor(graph, layout.entries.get(name)!, request.weights, rows),
    training: request.mode === 'train' ? { momentum: kind === 'forward' ? 0 : momentum } : undefined,
    keep: keepOf(graph, request, model, draws),
    mixBox: request.mix === 'tokens' ? addInput(graph, 'mixBox', [4], 'i32', false) : undefined,
    positions: request.positions,
  })
  if (kind !== 'step') {
    addOutput(graph, 'logits', outputs.logits, true)
    if (outputs.tokenLogits) addOutput(graph, 'tokenLogits', outputs.tokenLogits, true)
  }
  if (request.targets !== 'none') {
    const scaling = kind !== 'forward' && settings.precision === 'fp16' ? scalingOf(graph) : undefined
    const loss = lossOf(graph, request, model, settings, outputs, mix, scaling)
    if (kind !== 'forward') {
      const norm = backward(graph, request, layout, loss, images, scaling)
      if (kind === 'step') optimize(graph, request, layout, settings, norm, scaling)
    }
  }
  const { precision } = settings
  const lowered = precision === 'fp32' ? graph : lowerPrecision(graph, precision === 'fp16' ? 'f16' : 'bf16', cast)
  return compile(lowered, request.batch, microBatch)
}

function imagesOf(graph: Graph, { images, microBatch, resolution }: ProgramRequest, model: Model): Tensor {
  const { height, width, pad } = images
  const input = addInput(graph, 'images', [microBatch, height, width, model.channels], images.type)
  if (images.type === 'f32') return input
  const crops = addInput(graph, 'crops', [microBatch, 3], 'i32')
  const { mean, deviation } = model
  return normalizeImages(graph, input, crops, { height: resolution, width: resolution, pad, mean, deviation })
}

/** The images as the network sees them: erased, then mixed, so that a partner brings its erased box along. */
function regularized(
  graph: Graph,
  images: Tensor,
  { erase, mix: kind, microBatch }: ProgramRequest,
  draws: Draws | undefined,
  mix: Tensor | undefined,
): Tensor {
  const erased =
    erase && draws
      ? eraseImages(graph, images, addInput(graph, 'erase', [microBatch, 4], 'i32'), draws.random, draws.index)
      : images
  return mix && kind === 'images' ? mixImages(graph, erased, mix) : erased
}

/** Whether a program draws random numbers, and so has to be told where they are. */
export function drawsOnDevice({ erase, keep }: Pick<ProgramRequest, 'erase' | 'keep'>): boolean {
  return erase || typeof keep !== 'string'
}

interface Draws {
  /** Seed and step (4). */
  readonly random: Tensor
  /** Places in the whole batch (B). */
  readonly index: Tensor
}

function drawsOf(graph: Graph, microBatch: number): Draws {
  return {
    random: addInput(graph, 'random', [4], 'i32', false),
    index: addInput(graph, 'index', [microBatch], 'i32'),
  }
}

function parameterTensor(
  graph: Graph,
  { specification, offset }: Slot,
  arena: Arena,
  rows?: readonly [number, number],
): Tensor {
  const { name, shape } = specification
  if (rows === undefined) return addTensor(graph, name, shape, { arena, offset })
  const rest = shape.slice(1)
  const rowSize = rest.reduce((product, extent) => product * extent, 1)
  return addTensor(graph, `${name}[${rows.join(':')}]`, [rows[1] - rows[0], ...rest], {
    arena,
    offset: offset + rows[0] * rowSize,
  })
}

function keepOf(
  graph: Graph,
  { keep, microBatch }: ProgramRequest,
  model: Model,
  draws: Draws | undefined,
): Tensor | undefined {
  if (keep === 'given') return addInput(graph, 'keep', [microBatch, model.branches * model.depth], 'f32')
  if (keep === 'none' || !draws) return undefined
  return keepScale(graph, draws.random, draws.index, keep)
}

function scalingOf(graph: Graph): Tensor {
  const scaling = addTensor(graph, 'scaling', [4], { arena: 'scaling', offset: 0 })
  addOutput(graph, 'scaling', scaling, false)
  return scaling
}

/**
 * Mean loss over the whole batch, summed up over the micro-batches; with labels, also the counts of correct images, by
 * their own labels where they are mixed.
 */
function lossOf(
  graph: Graph,
  request: ProgramRequest,
  model: Model,
  { classWeight, denseWeight }: ProgramSettings,
  { logits, tokenLogits }: Outputs,
  mix: Tensor | undefined,
  scaling: Tensor | undefined,
): Tensor {
  const { targets, microBatch, batch, smoothing } = request
  const cleared = (name: string, size: number, type: 'f32' | 'i32') => {
    const tensor = addTensor(graph, name, [size], { type })
    graph.phase = 'begin'
    zero(graph, tensor)
    graph.phase = 'micro'
    addOutput(graph, name, tensor, false)
    return tensor
  }
  const loss = cleared('loss', 1, 'f32')
  const weight = model.tokenSize === undefined ? 1 : classWeight
  const against = (soft: Tensor) =>
    crossEntropy(graph, logits, mix ? mixTargets(graph, soft, mix) : soft, batch / weight, loss, scaling)
  if (targets === 'soft') {
    against(addInput(graph, 'targets', [microBatch, model.classes], 'f32'))
  } else {
    const labels = addInput(graph, 'labels', [microBatch], 'i32')
    against(oneHot(graph, labels, model.classes, smoothing))
    countCorrect(graph, logits, labels, cleared('counts', 2, 'i32'))
  }
  if (tokenLogits && request.tokenTargets !== 'none') {
    const tokens = tokenLogits.shape[1]!
    const wanted = tokenTargetsOf(graph, request, model, tokenLogits)
    crossEntropy(graph, tokenLogits, wanted, (batch * tokens) / denseWeight, loss, scaling)
  }
  return loss
}

/** (B, tokens, classes): as they are given, or what label maps say of the part of the picture that an image shows. */
function tokenTargetsOf(
  graph: Graph,
  { tokenTargets, microBatch, resolution }: ProgramRequest,
  { classes, tokenSize }: Model,
  tokenLogits: Tensor,
): Tensor {
  if (typeof tokenTargets === 'string') return addInput(graph, 'tokenTargets', tokenLogits.shape, 'f32')
  const { shape, logits, smoothing } = tokenTargets
  return alignLabels(
    graph,
    addInput(graph, 'mapClasses', [microBatch, ...shape], 'i32'),
    addInput(graph, 'mapScores', [microBatch, ...shape], 'f32'),
    addInput(graph, 'regions', [microBatch, regionSize], 'f32'),
    { grid: resolution / tokenSize!, classCount: classes, smoothing, logits },
  )
}

/** Gradients of all parameters that ran; returns their norm. */
function backward(
  graph: Graph,
  request: ProgramRequest,
  layout: Layout,
  loss: Tensor,
  images: Tensor,
  scaling: Tensor | undefined,
): Tensor {
  const gradients = addTensor(graph, 'gradients', [layout.size], { arena: 'gradients', offset: 0 })
  graph.phase = 'begin'
  zero(graph, gradients)
  graph.phase = 'micro'
  const wanted = differentiate(graph, [{ tensor: loss, gradient: loss }], add, request.imageGradient ? [images] : [])
  for (const gradient of wanted) addOutput(graph, 'imageGradient', gradient, true)
  graph.phase = 'end'
  const active = activeSlots(layout, request.layers)
  const ranges = { offsets: active.map((slot) => slot.offset), counts: active.map((slot) => slot.count) }
  const norm = gradientNorm(graph, gradients, ranges, scaling)
  addOutput(graph, 'gradientNorm', norm, false)
  return norm
}

function optimize(
  graph: Graph,
  { layers }: ProgramRequest,
  layout: Layout,
  { averages, lossScale: scalingRules }: ProgramSettings,
  norm: Tensor,
  scaling: Tensor | undefined,
): void {
  graph.phase = 'end'
  const arena = (name: Arena, size = layout.size, type: 'f32' | 'i32' = 'f32') =>
    addTensor(graph, name, [size], { arena: name, offset: 0, type })
  const arenas = [arena('weights'), arena('moment1'), arena('moment2'), arena('steps', layout.entries.size, 'i32')]
  const hyper = addInput(graph, 'hyper', [6], 'f32', false)
  const active = activeSlots(layout, layers)
  const parameters = [...arenas, ...averages.map((_, index) => arena(`ema${index}`))]
  const attributes = {
    offsets: active.map((slot) => slot.offset),
    counts: active.map((slot) => slot.count),
    slots: active.map((slot) => slot.index),
    decayed: active.map((slot) => (slot.specification.decayed ? 1 : 0)),
    averages,
  }
  adamw(graph, hyper, norm, arena('gradients'), parameters, attributes, scaling)
  if (scaling) lossScale(graph, norm, scaling, scalingRules)
}

/** Parameters that a sub-network trains: a block that is left out has no gradient, no update, no decay, nor has a statistic. */
export function activeSlots(layout: Layout, layers: readonly number[]): Slot[] {
  const running = new Set(layers)
  return [...layout.entries.values()].filter(
    ({ specification: { block, statistic } }) => !statistic && (block === undefined || running.has(block)),
  )
}
