import { AutoprogError } from '../errors.js'
import type { Model } from '../models/model.js'
import { initialValues, layoutOf } from '../models/parameters.js'
import { readTensors, writeTensors } from '../models/tensor-file.js'
import { matchWeights } from '../models/weights.js'
import type { Device, ProgramHandle, TypedArray, Values } from '../native.js'
import { addon, native } from '../native.js'
import type { BatchOptions, ForwardOptions, GradientOptions, StepOptions, WeightsName } from './batch.js'
import { checkWeights, prepare } from './batch.js'
import type { GrowOptions, LayerSource, SessionState } from './grow.js'
import { growParameters } from './grow.js'
import { microBatches } from './micro-batches.js'
import type { SessionOptions } from './options.js'
import { resolveOptions } from './options.js'
import { activeSlots, buildProgram } from './programs.js'
import type { ProgramRequest } from './request.js'
import { openStore } from './store.js'

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
  const settings = resolveOptions(options)
  const { device } = options
  const { seed, averages } = settings
  let model = options.model
  let store = await openStore(device, layoutOf(model), settings)
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
    const description = buildProgram(request, model, store.layout, settings)
    const made = native(() => addon().createProgram(store.handle, description)).then(
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
      buildProgram({ ...request, microBatch }, model, store.layout, settings).activationBytes
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
  const parameters = async (weights?: WeightsName) => {
    check()
    return store.read(checkWeights(weights, averages))
  }
  const state = async () => {
    check()
    return store.state()
  }

  await store.reset(
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
      const all = await store.read('gradients')
      const active = activeSlots(store.layout, batch.layers ?? allLayers(model))
      return {
        loss: loss![0]!,
        ...logitsOf(logits, tokenLogits),
        gradients: new Map(active.map(({ specification: { name } }) => [name, unscaled(all.get(name)!)])),
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
      await store.reset(matchWeights(path, await readTensors(path), model))
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
      const next = await openStore(device, layoutOf(grown.model), settings)
      store.close()
      programs = new Map()
      activations = 0
      ;[store, model] = [next, grown.model]
      await store.restore(grown.state)
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
    restore: async (stored) => {
      check()
      await store.restore(stored)
    },
    close: async () => {
      if (closed) return
      closed = true
      for (const made of programs.values())
        await made.then((compiled) => addon().closeProgram(compiled)).catch(() => undefined)
      store.close()
    },
  }
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
