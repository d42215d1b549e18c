import { AutoprogError, expected } from '../errors.js'
import { arenaIndex } from '../graph/compile.js'
import type { Arena } from '../graph/tensor.js'
import type { Model } from '../models/model.js'
import type { Layout } from '../models/parameters.js'
import { initialValues, layoutOf } from '../models/parameters.js'
import { matchWeights, readTensors, writeTensors } from '../models/weights.js'
import type { Device, ProgramHandle, SessionHandle, TypedArray, Values } from '../native.js'
import { addon, native } from '../native.js'
import type { BatchOptions, ForwardOptions, GradientOptions, Settings, StepOptions, WeightsName } from './batch.js'
import { cachedMicroBatch, microBatches, prepare } from './batch.js'
import type { GrowOptions, LayerSource, SessionState } from './grow.js'
import { growParameters } from './grow.js'
import type { Precision, ProgramRequest } from './programs.js'
import { activeSlots, buildProgram, precisions } from './programs.js'

export interface OptimizerOptions {
  /** 0.9 and 0.999 unless given. */
  betas?: readonly [number, number]
  /** 1e-8 unless given. */
  epsilon?: number
  /** Of matrices and kernels; 0.05 unless given. */
  weightDecay?: number
  /** Largest global gradient norm; none unless given. */
  clip?: number | null
  /** Decays of the moving averages kept beside the weights; none unless given. */
  averages?: readonly number[]
}

export interface SessionOptions {
  device: Device
  model: Model
  /** 'fp32' unless given. With 'bf16' and 'fp16' products and attention run in reduced precision, the rest in f32. */
  precision?: Precision
  /** Dynamic loss scaling of 'fp16'. */
  lossScale?: LossScaleOptions
  /** Of the first weights and of stochastic depth's draws; 0 unless given. */
  seed?: number
  optimizer?: OptimizerOptions
  /** Weight of the uniform distribution in targets given as class indices; 0 unless given. */
  labelSmoothing?: number
  /** Weight of the loss of the classes in a network with a head for tokens; 1 unless given. */
  classWeight?: number
  /** Weight of the loss of the tokens, where their targets are given; 0.5 unless given. */
  denseWeight?: number
}

export interface LossScaleOptions {
  /** Factor on the loss at the start; 2^16 unless given. */
  initial?: number
  /** Good steps in a row after which the scale grows; 2,000 unless given. */
  interval?: number
  /** Factor by which it grows; 2 unless given. */
  growth?: number
  /** Factor by which it shrinks after a step whose gradients overflowed, which is skipped; 0.5 unless given. */
  backoff?: number
}

export interface StepResult {
  loss: number
  /** Before clipping; not finite where the step was skipped. */
  gradientNorm: number
  correct?: number
  correct5?: number
  /** With loss scaling only. */
  lossScale?: { scale: number; skippedSteps: number }
}

export interface Session {
  readonly model: Model
  readonly device: Device
  readonly averages: readonly number[]
  /**
   * Logits (B, classes), and of a head for tokens, or where `positions` are asked for, (B, tokens, classes); with targets also the mean loss, with class indices
   * also how many ranked first and in the first five.
   */
  forward(options: ForwardOptions): Promise<{
    logits: Float32Array
    tokenLogits?: Float32Array
    loss?: number
    correct?: number
    correct5?: number
  }>
  /** Moves the running statistics of batch norm, as a step does. Mean loss, logits, the gradient of every parameter that ran, their norm, and on request the gradient of the images that it saw. */
  lossAndGradients(options: GradientOptions): Promise<{
    loss: number
    logits: Float32Array
    tokenLogits?: Float32Array
    gradients: Map<string, Float32Array>
    gradientNorm: number
    imageGradient?: Float32Array
  }>
  /** Forward, backward, optimizer and averages. */
  step(options: StepOptions): Promise<StepResult>
  /** Values of all parameters by timm's names. */
  parameters(weights?: WeightsName): Promise<Map<string, Float32Array>>
  /** Reads weights from a safetensors file, into the model and all its averages. Nothing changes when anything mismatches. */
  load(path: string): Promise<void>
  save(path: string, weights?: WeightsName): Promise<void>
  /** Replaces the blocks: new block i starts from the source that `layers[i]` names. */
  grow(layers: readonly LayerSource[], options?: GrowOptions): Promise<void>
  /** Seconds spent in each op so far, over all programs in use. */
  profile(): Promise<Record<string, number>>
  state(): Promise<SessionState>
  restore(state: SessionState): Promise<void>
  close(): Promise<void>
}

const programLimit = 64

/** Opens a session: a parameter store on a device with freshly initialised weights, and the programs that use it. */
export async function createSession(options: SessionOptions): Promise<Session> {
  const settings = resolve(options)
  const { device } = options
  const { seed, averages } = settings
  let model = options.model
  let layout = layoutOf(model)
  let handle = await openStore(device, layout, settings)
  let programs = new Map<string, Promise<ProgramHandle>>()
  let activations = 0 // bytes reserved by now
  let closed = false
  const check = () => {
    if (closed) throw new AutoprogError('DEVICE', 'The session is closed')
  }

  const program = (request: ProgramRequest): Promise<ProgramHandle> => {
    const key = JSON.stringify(request)
    const known = programs.get(key)
    if (known) {
      programs.delete(key) // to the end: the first is the one unused for longest
      programs.set(key, known)
      return known
    }
    const description = buildProgram(request, model, layout, settings)
    const made = native(() => addon().createProgram(handle, description)).then(
      (compiled) => {
        activations = Math.max(activations, description.activationBytes)
        return compiled
      },
      (error) => {
        throw withFittingMicroBatch(error, request)
      },
    )
    programs.set(key, made)
    made.catch(() => programs.delete(key))
    const [oldest] = programs
    if (programs.size > programLimit && oldest) {
      programs.delete(oldest[0])
      void oldest[1].then((old) => addon().closeProgram(old)).catch(() => undefined)
    }
    return made
  }
  /** Adds to a device's lack of memory the micro-batch that would fit. */
  const withFittingMicroBatch = (error: unknown, request: ProgramRequest): unknown => {
    const free = addon().freeMemory(device.handle) + activations // whose place the next program's would take
    if (!(error instanceof AutoprogError && error.code === 'MEMORY' && free > activations)) return error
    const needs = (microBatch: number) =>
      buildProgram({ ...request, microBatch }, model, layout, settings).activationBytes
    const fitting = microBatches(request.batch).findLast((size) => size < request.microBatch && needs(size) <= free)
    const hint =
      fitting === undefined
        ? 'Not even the smallest micro-batch would fit: use a smaller model or resolution.'
        : `A micro-batch of ${fitting} would fit, instead of ${request.microBatch}.`
    return new AutoprogError('MEMORY', error.message, { hint, cause: error })
  }
  const run = async (kind: ProgramRequest['kind'], batch: BatchOptions): Promise<Values> => {
    check()
    const { request, values } = prepare(kind, batch, model, settings)
    const compiled = await program(request)
    return native(() => addon().runProgram(compiled, values))
  }
  const read = (arena: Arena, count = layout.size) =>
    native(() => addon().readArena(handle, arenaIndex(arena), 0, arena === 'steps' ? 'i32' : 'f32', count))
  const write = (arena: Arena, values: TypedArray) =>
    native(() => addon().writeArena(handle, arenaIndex(arena), 0, values))
  const arenas: readonly Arena[] = [
    'weights',
    'moment1',
    'moment2',
    ...averages.map((_, index): Arena => `ema${index}`),
  ]

  const setWeights = async (values: ReadonlyMap<string, Float32Array>) => {
    const packed = pack(layout, values)
    for (const arena of arenas) await write(arena, arena.startsWith('moment') ? new Float32Array(layout.size) : packed)
    await write('steps', new Int32Array(layout.entries.size))
    await write('scaling', Float32Array.of(settings.initialScale, 0, 0, 0))
  }
  const parameters = async (weights: WeightsName = 'model') => {
    check()
    const index = /^ema(\d+)$/.exec(weights)?.[1]
    if (weights !== 'model' && (index === undefined || Number(index) >= averages.length))
      throw new AutoprogError(
        'CONFIG',
        expected(`model or one of ${averages.length} averages (ema0, …)`, 'weights', weights),
      )
    return unpack(layout, (await read(weights === 'model' ? 'weights' : weights)) as Float32Array)
  }
  const state = async (): Promise<SessionState> => {
    check()
    const result: SessionState = new Map()
    for (const arena of arenas)
      for (const [name, values] of unpack(layout, (await read(arena)) as Float32Array))
        result.set(`${arena}/${name}`, { shape: layout.entries.get(name)!.specification.shape, values })
    const steps = (await read('steps', layout.entries.size)) as Int32Array
    for (const [name, slot] of layout.entries)
      result.set(`steps/${name}`, { shape: [1], values: steps.slice(slot.index, slot.index + 1) })
    result.set('scaling', { shape: [4], values: await read('scaling', 4) })
    return result
  }
  const restore = async (stored: SessionState) => {
    check()
    const wanted = [...layout.entries.keys()].flatMap((name) => [...arenas, 'steps'].map((arena) => `${arena}/${name}`))
    wanted.push('scaling')
    const missing = wanted.filter((name) => !stored.has(name))
    if (missing.length > 0)
      throw new AutoprogError(
        'CHECKPOINT',
        `The state lacks ${missing.length} of ${wanted.length} tensors, such as ${missing[0]}`,
      )
    for (const arena of arenas) {
      const part = new Map(
        [...layout.entries.keys()].map((name) => [name, stored.get(`${arena}/${name}`)!.values as Float32Array]),
      )
      await write(arena, pack(layout, part))
    }
    const steps = new Int32Array(layout.entries.size)
    for (const [name, slot] of layout.entries) steps[slot.index] = stored.get(`steps/${name}`)!.values[0]!
    await write('steps', steps)
    await write('scaling', stored.get('scaling')!.values)
  }

  await setWeights(
    new Map(model.parameters.map((specification) => [specification.name, initialValues(specification, seed)])),
  )
  return {
    get model() {
      return model
    },
    device,
    averages,
    forward: async (batch) => {
      const { logits, tokenLogits, loss, counts } = await run('forward', batch)
      return { ...logitsOf(logits, tokenLogits), ...(loss && { loss: loss[0]! }), ...countsOf(counts) }
    },
    lossAndGradients: async (batch) => {
      const { logits, tokenLogits, loss, gradientNorm, imageGradient, scaling } = await run('gradients', batch)
      const unscaled = (values: Float32Array) => (scaling ? values.map((value) => value / scaling[0]!) : values)
      const all = unpack(layout, unscaled((await read('gradients')) as Float32Array))
      const active = activeSlots(layout, batch.layers ?? allLayers(model))
      return {
        loss: loss![0]!,
        ...logitsOf(logits, tokenLogits),
        gradients: new Map(active.map(({ specification: { name } }) => [name, all.get(name)!])),
        gradientNorm: gradientNorm![0]!,
        ...(imageGradient && { imageGradient: unscaled(imageGradient as Float32Array) }),
      }
    },
    step: async (batch) => {
      const { loss, gradientNorm, counts, scaling } = await run('step', batch)
      return {
        loss: loss![0]!,
        gradientNorm: gradientNorm![0]!,
        ...countsOf(counts),
        ...(scaling && { lossScale: { scale: scaling[0]!, skippedSteps: scaling[2]! } }),
      }
    },
    parameters,
    load: async (path) => {
      check()
      await setWeights(matchWeights(path, await readTensors(path), model))
    },
    save: async (path, weights) => {
      const values = await parameters(weights)
      const shapes = new Map(model.parameters.map(({ name, shape }) => [name, shape]))
      await writeTensors(
        path,
        new Map([...values].map(([name, value]) => [name, { shape: shapes.get(name)!, values: value }])),
      )
    },
    grow: async (layers, growth = {}) => {
      const grown = growParameters(await state(), model, layers, { seed, averages, ...growth })
      const nextLayout = layoutOf(grown.model)
      const next = await openStore(device, nextLayout, settings)
      addon().closeSession(handle)
      programs = new Map()
      activations = 0
      ;[handle, layout, model] = [next, nextLayout, grown.model]
      await restore(grown.state)
    },
    profile: async () => {
      check()
      const total: Record<string, number> = {}
      for (const made of programs.values())
        for (const [op, seconds] of Object.entries(await native(async () => addon().programSeconds(await made))))
          total[op] = (total[op] ?? 0) + seconds
      return total
    },
    state,
    restore,
    close: async () => {
      if (closed) return
      closed = true
      for (const made of programs.values())
        await made.then((compiled) => addon().closeProgram(compiled)).catch(() => undefined)
      addon().closeSession(handle)
    },
  }
}

function resolve({
  device,
  precision = 'fp32',
  seed = 0,
  optimizer = {},
  labelSmoothing = 0,
  classWeight = 1,
  denseWeight = 0.5,
  lossScale = {},
}: SessionOptions): Settings & { initialScale: number } {
  const { initial = 2 ** 16, interval = 2000, growth = 2, backoff = 0.5 } = lossScale
  const { betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0.05, clip = null, averages = [] } = optimizer
  if (!precisions.includes(precision))
    throw new AutoprogError('CONFIG', expected(`one of ${precisions.join(', ')}`, 'precision', precision))
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new AutoprogError('CONFIG', expected('a non-negative integer', 'seed', seed))
  const within = (name: string, value: number, low: number, high: number) => {
    if (!(value >= low && value < high))
      throw new AutoprogError('CONFIG', expected(`a number from ${low} to below ${high}`, name, value))
  }
  within('labelSmoothing', labelSmoothing, 0, 1)
  within('classWeight', classWeight, Number.MIN_VALUE, Infinity)
  within('denseWeight', denseWeight, Number.MIN_VALUE, Infinity)
  for (const [index, beta] of betas.entries()) within(`beta${index + 1}`, beta, 0, 1)
  for (const [index, decay] of averages.entries()) within(`the decay of ema${index}`, decay, 0, 1)
  within('epsilon', epsilon, 0, 1)
  within('weightDecay', weightDecay, 0, Infinity)
  within('lossScale.initial', initial, Number.MIN_VALUE, 2 ** 64)
  within('lossScale.growth', growth, 1, Infinity)
  within('lossScale.backoff', backoff, Number.MIN_VALUE, 1)
  if (!Number.isInteger(interval) || interval < 1)
    throw new AutoprogError('CONFIG', expected('a positive integer', 'lossScale.interval', interval))
  if (clip !== null) within('clip', clip, Number.MIN_VALUE, Infinity)
  return {
    precision,
    classWeight,
    denseWeight,
    lossScale: { growth, backoff, interval },
    initialScale: initial,
    defaultMicroBatch: device.kind === 'cpu' ? cachedMicroBatch : (batch) => batch,
    seed,
    averages: [...averages],
    smoothing: labelSmoothing,
    betas,
    epsilon,
    weightDecay,
    clip: clip ?? 0,
  }
}

async function openStore(device: Device, layout: Layout, { averages, precision }: Settings): Promise<SessionHandle> {
  const parameters = 4 * layout.size
  const sizes = [
    0,
    parameters,
    parameters,
    parameters,
    parameters,
    4 * layout.entries.size,
    precision === 'fp32' ? 0 : 2 * layout.size,
    16,
    ...Array<number>(averages.length).fill(parameters),
  ]
  return native(() => addon().createSession(device.handle, sizes))
}

function pack(layout: Layout, values: ReadonlyMap<string, Float32Array>): Float32Array {
  const packed = new Float32Array(layout.size)
  for (const [name, slot] of layout.entries) {
    const value = values.get(name)!
    if (value.length !== slot.count) throw new AutoprogError('SHAPE', expected(`${slot.count} values`, name, value))
    packed.set(value, slot.offset)
  }
  return packed
}

function unpack(layout: Layout, packed: Float32Array): Map<string, Float32Array> {
  return new Map([...layout.entries].map(([name, { offset, count }]) => [name, packed.slice(offset, offset + count)]))
}

function logitsOf(logits: TypedArray | undefined, tokenLogits: TypedArray | undefined) {
  return { logits: logits as Float32Array, ...(tokenLogits && { tokenLogits: tokenLogits as Float32Array }) }
}

function countsOf(counts: TypedArray | undefined): { correct?: number; correct5?: number } {
  return counts ? { correct: counts[0]!, correct5: counts[1]! } : {}
}

export function allLayers(model: Model): number[] {
  return Array.from({ length: model.depth }, (_, index) => index)
}
