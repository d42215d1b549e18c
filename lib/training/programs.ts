import { differentiate } from '../graph/autodiff.js'
import { compile } from '../graph/compile.js'
import type { Graph } from '../graph/graph.js'
import { addInput, addOutput, addTensor, createGraph } from '../graph/graph.js'
import type { Arena, Tensor } from '../graph/tensor.js'
import type { Model } from '../models/model.js'
import type { Layout, Slot } from '../models/parameters.js'
import type { ProgramDescription } from '../native.js'
import {
  adamw,
  add,
  countCorrect,
  crossEntropy,
  gradientNorm,
  keepScale,
  normalizeImages,
  oneHot,
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
  /** The arena whose weights run; steps and gradients use the model's own. */
  readonly weights: Arena
  readonly imageGradient: boolean
}

/** Decays of the moving averages; their arenas are ema0, ema1, … in this order. */
export type Averages = readonly number[]

/** Builds and compiles the graph of a request. */
export function buildProgram(
  request: ProgramRequest,
  model: Model,
  layout: Layout,
  averages: Averages,
): ProgramDescription {
  const graph = createGraph()
  const { kind, microBatch } = request
  const images = imagesOf(graph, request, model)
  const logits = model.build(graph, {
    images,
    layers: request.layers,
    parameter: (name, rows) => parameterTensor(graph, layout.entries.get(name)!, request.weights, rows),
    keep: keepOf(graph, request, model),
  })
  if (kind !== 'step') addOutput(graph, 'logits', logits, true)
  if (request.targets !== 'none') {
    const loss = lossOf(graph, request, model, logits)
    if (kind !== 'forward') backward(graph, request, layout, loss, images)
  }
  if (kind === 'step') optimize(graph, request, layout, averages)
  return compile(graph, request.batch, microBatch)
}

function imagesOf(graph: Graph, { images, microBatch, resolution }: ProgramRequest, model: Model): Tensor {
  const { height, width, pad } = images
  const input = addInput(graph, 'images', [microBatch, height, width, model.channels], images.type)
  if (images.type === 'f32') return input
  const crops = addInput(graph, 'crops', [microBatch, 3], 'i32')
  const { mean, deviation } = model
  return normalizeImages(graph, input, crops, { height: resolution, width: resolution, pad, mean, deviation })
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

function keepOf(graph: Graph, { keep, microBatch }: ProgramRequest, model: Model): Tensor | undefined {
  if (keep === 'none') return undefined
  if (keep === 'given') return addInput(graph, 'keep', [microBatch, 2 * model.depth], 'f32')
  const random = addInput(graph, 'random', [4], 'i32', false)
  const index = addInput(graph, 'index', [microBatch], 'i32')
  return keepScale(graph, random, index, keep)
}

/** Mean loss over the whole batch, summed up over the micro-batches; with labels, also the counts of correct images. */
function lossOf(
  graph: Graph,
  { targets, microBatch, batch, smoothing }: ProgramRequest,
  model: Model,
  logits: Tensor,
): Tensor {
  const cleared = (name: string, size: number, type: 'f32' | 'i32') => {
    const tensor = addTensor(graph, name, [size], { type })
    graph.phase = 'begin'
    zero(graph, tensor)
    graph.phase = 'micro'
    addOutput(graph, name, tensor, false)
    return tensor
  }
  const loss = cleared('loss', 1, 'f32')
  if (targets === 'soft') {
    crossEntropy(graph, logits, addInput(graph, 'targets', [microBatch, model.classes], 'f32'), batch, loss)
  } else {
    const labels = addInput(graph, 'labels', [microBatch], 'i32')
    crossEntropy(graph, logits, oneHot(graph, labels, model.classes, smoothing), batch, loss)
    countCorrect(graph, logits, labels, cleared('counts', 2, 'i32'))
  }
  return loss
}

function backward(graph: Graph, request: ProgramRequest, layout: Layout, loss: Tensor, images: Tensor): void {
  const gradients = addTensor(graph, 'gradients', [layout.size], { arena: 'gradients', offset: 0 })
  graph.phase = 'begin'
  zero(graph, gradients)
  graph.phase = 'micro'
  const wanted = differentiate(graph, [{ tensor: loss, gradient: loss }], add, request.imageGradient ? [images] : [])
  for (const gradient of wanted) addOutput(graph, 'imageGradient', gradient, true)
  graph.phase = 'end'
  const active = activeSlots(layout, request.layers)
  const norm = gradientNorm(graph, gradients, {
    offsets: active.map((slot) => slot.offset),
    counts: active.map((slot) => slot.count),
  })
  addOutput(graph, 'gradientNorm', norm, false)
}

function optimize(graph: Graph, { layers }: ProgramRequest, layout: Layout, averages: Averages): void {
  graph.phase = 'end'
  const arena = (name: Arena, size = layout.size, type: 'f32' | 'i32' = 'f32') =>
    addTensor(graph, name, [size], { arena: name, offset: 0, type })
  const arenas = [arena('weights'), arena('moment1'), arena('moment2'), arena('steps', layout.entries.size, 'i32')]
  const norm = graph.outputs.find((port) => port.name === 'gradientNorm')!.tensor
  const hyper = addInput(graph, 'hyper', [6], 'f32', false)
  const active = activeSlots(layout, layers)
  adamw(graph, hyper, norm, arena('gradients'), [...arenas, ...averages.map((_, index) => arena(`ema${index}`))], {
    offsets: active.map((slot) => slot.offset),
    counts: active.map((slot) => slot.count),
    slots: active.map((slot) => slot.index),
    decayed: active.map((slot) => (slot.specification.decayed ? 1 : 0)),
    averages,
  })
}

/** Parameters that a sub-network trains: a block that is left out has no gradient, no update, no decay. */
export function activeSlots(layout: Layout, layers: readonly number[]): Slot[] {
  const running = new Set(layers)
  return [...layout.entries.values()].filter(
    ({ specification: { block } }) => block === undefined || running.has(block),
  )
}
