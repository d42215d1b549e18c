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
import { prepare } from './batch.js'
import type { GrowOptions, LayerSource, SessionState } from './grow.js'
import { growParameters } from './grow.js'
import type { ProgramRequest } from './programs.js'
import { activeSlots, buildProgram } from './programs.js'

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
  /** Only 'fp32' for now. */
  precision?: 'fp32'
  /** Of the first weights and of stochastic depth's draws; 0 unless given. */
  seed?: number
  optimizer?: OptimizerOptions
  /** Weight of the uniform distribution in targets given as class indices; 0 unless given. */
  labelSmoothing?: number
}

export interface Session {
  readonly model: Model
  readonly device: Device
  readonly averages: readonly number[]
  /** Logits (B, classes); with targets also the mean loss, with class indices also how many ranked first and in the first five. */
  forward(
    options: ForwardOptions,
  ): Promise<{ logits: Float32Array; loss?: number; correct?: number; correct5?: number }>
  /** Mean loss, logits, the gradient of every parameter that ran, their norm, and on request the normalised images' gradient. */
  lossAndGradients(options: GradientOptions): Promise<{
    loss: number
    logits: Float32Array
    gradients: Map<string, Float32Array>
    gradientNorm: number
    imageGradient?: Float32Array
  }>
  /** Forward, backward, optimizer and averages. `gradientNorm` is taken before clipping. */
  step(options: StepOptions): Promise<{ loss: number; gradientNorm: number; correct?: number; correct5?: number }>
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
  let handle = await openStore(device, layout, averages.length)
  let programs = new Map<string, Promise<ProgramHandle>>()
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
    const description = buildProgram(request, model, layout, averages)
    const made = native(() => addon().createProgram(handle, description))
    programs.set(key, made)
    made.catch(() => programs.delete(key))
    const [oldest] = programs
    if (programs.size > programLimit && oldest) {
      programs.delete(oldest[0])
      void oldest[1].then((old) => addon().closeProgram(old)).catch(() => undefined)
    }
    return made
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
    return result
  }
  const restore = async (stored: SessionState) => {
    check()
    const wanted = [...layout.entries.keys()].flatMap((name) => [...arenas, 'steps'].map((arena) => `${arena}/${name}`))
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
      const { logits, loss, counts } = await run('forward', batch)
      return { logits: logits as Float32Array, ...(loss && { loss: loss[0]! }), ...countsOf(counts) }
    },
    lossAndGradients: async (batch) => {
      const { logits, loss, gradientNorm, imageGradient } = await run('gradients', batch)
      const all = unpack(layout, (await read('gradients')) as Float32Array)
      const active = activeSlots(layout, batch.layers ?? allLayers(model))
      return {
        loss: loss![0]!,
        logits: logits as Float32Array,
        gradients: new Map(active.map(({ specification: { name } }) => [name, all.get(name)!])),
        gradientNorm: gradientNorm![0]!,
        ...(imageGradient && { imageGradient: imageGradient as Float32Array }),
      }
    },
    step: async (batch) => {
      const { loss, gradientNorm, counts } = await run('step', batch)
      return { loss: loss![0]!, gradientNorm: gradientNorm![0]!, ...countsOf(counts) }
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
      const next = await openStore(device, nextLayout, averages.length)
      addon().closeSession(handle)
      programs = new Map()
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

function resolve({ precision = 'fp32', seed = 0, optimizer = {}, labelSmoothing = 0 }: SessionOptions): Settings {
  const { betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0.05, clip = null, averages = [] } = optimizer
  if (precision !== 'fp32')
    throw new AutoprogError('CONFIG', expected('fp32 (the only precision so far)', 'precision', precision))
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new AutoprogError('CONFIG', expected('a non-negative integer', 'seed', seed))
  const within = (name: string, value: number, low: number, high: number) => {
    if (!(value >= low && value < high))
      throw new AutoprogError('CONFIG', expected(`a number from ${low} to below ${high}`, name, value))
  }
  within('labelSmoothing', labelSmoothing, 0, 1)
  for (const [index, beta] of betas.entries()) within(`beta${index + 1}`, beta, 0, 1)
  for (const [index, decay] of averages.entries()) within(`the decay of ema${index}`, decay, 0, 1)
  within('epsilon', epsilon, 0, 1)
  within('weightDecay', weightDecay, 0, Infinity)
  if (clip !== null) within('clip', clip, Number.MIN_VALUE, Infinity)
  return {
    seed,
    averages: [...averages],
    smoothing: labelSmoothing,
    betas,
    epsilon,
    weightDecay,
    clip: clip ?? 0,
  }
}

async function openStore(device: Device, layout: Layout, averages: number): Promise<SessionHandle> {
  const parameters = 4 * layout.size
  const sizes = [
    0,
    parameters,
    parameters,
    parameters,
    parameters,
    4 * layout.entries.size,
    ...Array<number>(averages).fill(parameters),
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

function countsOf(counts: TypedArray | undefined): { correct?: number; correct5?: number } {
  return counts ? { correct: counts[0]!, correct5: counts[1]! } : {}
}

export function allLayers(model: Model): number[] {
  return Array.from({ length: model.depth }, (_, index) => index)
}
