import { differentiate } from '../graph/autodiff.js'
import { compile } from '../graph/compile.js'
import type { Graph } from '../graph/graph.js'
import { addInput, addOutput, addTensor, createGraph } from '../graph/graph.js'
import { lowerPrecision } from '../graph/precision.js'
import type { Arena, Tensor } from '../graph/tensor.js'
import type { Model } from '../models/model.js'
import type { Layout, Slot } from '../models/parameters.js'
import type { ProgramDescription } from '../native.js'
import { adamw, add, cast, eraseImages, gradientNorm, lossScale, mixImages, mixSize, zero } from '../ops/index.js'
import type { Draws } from './draws.js'
import { drawsOf, drawsOnDevice } from './draws.js'
import { imagesOf } from './images.js'
import type { ProgramRequest, ProgramSettings } from './request.js'
import { keepOf } from './stochastic-depth.js'
import { lossOf } from './targets.js'

/** By which batch norm's running statistics move towards a batch's; PyTorch's and the paper's. */
const momentum = 0.1

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
    if (request.features) addOutput(graph, 'features', outputs.features, true)
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

function scalingOf(graph: Graph): Tensor {
  const scaling = addTensor(graph, 'scaling', [4], { arena: 'scaling', offset: 0 })
  addOutput(graph, 'scaling', scaling, false)
  return scaling
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
