import { AutoprogError, checkKind } from '../errors.js'
import type { Model } from '../models/model.js'
import { initialValues, layoutOf } from '../models/parameters.js'
import { readTensors, writeTensors } from '../models/tensor-file.js'
import { matchWeights } from '../models/weights.js'
import type { Device, ProgramHandle, TypedArray, Values } from '../native.js'
import { addon, fromNative, hostCopy, hostRelease, native } from '../native.js'
import type { BatchOptions, ForwardOptions, GradientOptions, StepOptions, WeightsName } from './batch.js'
import { checkBatch, checkWeights, prepare } from './batch.js'
import type { GrowOptions, LayerSource, SessionState } from './grow.js'
import { growParameters } from './grow.js'
import { microBatches } from './micro-batches.js'
import type { SessionOptions } from './options.js'
import { resolveOptions } from './options.js'
import { activeSlots, buildProgram } from './programs.js'
import { copyOf, createQueue } from './queue.js'
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

/**
 * Calls may overlap: they are carried out one after another, in the order in which they were made. What a caller's arrays hold is
 * copied before the call returns: it may then change them, transfer them to another thread or let go of them, and the call goes on
 * with what they held. Memory that threads share (SharedArrayBuffer) is refused (SHAPE).
 */
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
    features?: Float32Array
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
  /**
   * Reads weights from a safetensors file, into the model and all its averages; from a run's checkpoint the trained ones, or the
   * average that is named (`ema0`, …). Nothing changes when anything mismatches.
   */
  load(path: string, weights?: WeightsName): Promise<void>
  save(path: string, weights?: WeightsName): Promise<void>
  /** Replaces the blocks: new block i starts from the source that `layers[i]` names. */
  grow(layers: readonly LayerSource[], options?: GrowOptions): Promise<void>
  /**
   * Seconds spent in each op so far, over all programs in use. On a GPU a step is one recorded graph, of which that is not
   * known (DEVICE): where the environment variable AUTOPROG_PROFILE was set when the device was opened, steps run op by op
   * instead, somewhat slower, between events of the GPU's own clock.
   */
  profile(): Promise<Record<string, number>>
  state(): Promise<SessionState>
  /** Sets all that a session of the same network and averages has given as its state. Nothing changes where it does not fit (CHECKPOINT). */
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
  let store = await openStore(device, layoutOf(model), settings, model.name)
  let programs = new Map<string, ProgramHandle>()
  let activations = 0 // bytes reserved by now
  let closed = false
  // Programs share their arenas, and a step changes what all others read.
  const queue = createQueue()
  const queued = <T>(work: () => Promise<T>): Promise<T> =>
    queue.run(async () => {
      if (closed) throw new AutoprogError('DEVICE', 'The session is closed')
      return work().catch((error: unknown) => {
        throw fromNative(error)
      })
    })

  const make = async (request: ProgramRequest, key: string): Promise<ProgramHandle> => {
    const description = buildProgram(request, model, store.layout, settings)
    const made = await native(() => addon().createProgram(store.handle, description)).catch(async (error: unknown) => {
      throw await withFittingMicroBatch(error, request)
    })
    activations = Math.max(activations, description.activationBytes)
    programs.set(key, made)
    const [oldest] = programs
    if (programs.size > programLimit && oldest) {
      programs.delete(oldest[0])
      addon().closeProgram(oldest[1])
    }
    return made
  }
  const read = (weights?: WeightsName) => store.read(checkWeights(weights, averages))
  /** Adds to a device's lack of memory the micro-batch that would fit. */
  const withFittingMicroBatch = async (error: unknown, request: ProgramRequest): Promise<unknown> => {
    if (!(error instanceof AutoprogError && error.code === 'MEMORY')) return error
    const unused = await addon().freeMemory(device.handle)
    if (unused === undefined) return error
    const free = unused + activations // whose place the next program's would take
    const needs = (microBatch: number) =>
      buildProgram({ ...request, microBatch }, model, store.layout, settings).activationBytes
    const fitting = microBatches(request.batch).findLast((size) => size < request.microBatch && needs(size) <= free)
    const hint =
      fitting === undefined
        ? 'Not even the smallest micro-batch would fit: use a smaller model or resolution.'
        : `A micro-batch of ${fitting} would fit, instead of ${request.microBatch}.`
    return new AutoprogError('MEMORY', error.message, { hint, cause: error })
  }
  /** The same with arrays that the caller cannot change any more; `copies` takes down those that are new. */
  const held = <T>(options: T, copies: ArrayBufferView[]): T =>
    copyOf(options, (array) => {
      const copy = hostCopy(store.handle, array)
      if (copy !== array) copies.push(copy)
      return copy
    })
  const checkTraining = () => {
    if (settings.training) return
    const hint = 'leave training: false out of the options of createSession'
    throw new AutoprogError('CONFIG', 'The session was made for forward passes alone', { hint })
  }
  /** Runs a program, within the queue. The addon holds its inputs once it is called; until then we do. */
  const run = async (kind: ProgramRequest['kind'], batch: BatchOptions): Promise<Values> => {
    if (kind !== 'forward') checkTraining()
    const { request, values } = prepare(kind, batch, model, settings)
    const key = JSON.stringify(request)
    const known = programs.get(key)
    if (known === undefined) {
      const inputs = held(values, [])
      const made = await make(request, key)
      return native(() => addon().runProgram(made, inputs))
    }
    programs.delete(key) // to the end: the first is the one unused for longest
    programs.set(key, known)
    return native(() => addon().runProgram(known, values))
  }
  /** A call with a batch, which the caller may change as soon as the call has returned. */
  const withBatch = async <B extends BatchOptions, T>(batch: B, work: (batch: B) => Promise<T>): Promise<T> => {
    checkBatch(batch)
    if (queue.idle) return queued(() => work(batch))
    const copies: ArrayBufferView[] = []
    const given = held(batch, copies)
    return queued(() => work(given)).finally(() => copies.forEach(hostRelease))
  }

  const { weights } = options
  await store.reset(
    new Map(model.parameters.map((each) => [each.name, weights ? weights.get(each.name)! : initialValues(each, seed)])),
  )
  return {
    get model() {
      return model
    },
    device,
    averages,
    forward: (options) =>
      withBatch(options, async (batch) => {
        const { logits, tokenLogits, features, loss, counts } = await run('forward', batch)
        const asked = features && { features: features as Float32Array }
        return { ...logitsOf(logits, tokenLogits), ...asked, ...(loss && { loss: loss[0]! }), ...countsOf(counts) }
      }),
    lossAndGradients: (options) =>
      withBatch(options, async (batch) => {
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
      }),
    step: (options) =>
      withBatch(options, async (batch) => {
        const { loss, gradientNorm, counts, scaling } = await run('step', batch)
        return {
          loss: loss![0]!,
          gradientNorm: gradientNorm![0]!,
          ...countsOf(counts),
          ...(scaling && { lossScale: { scale: scaling[0]!, skippedSteps: scaling[2]! } }),
        }
      }),
    parameters: (weights) => queued(() => read(weights)),
    load: (path, weights) =>
      queued(async () => {
        checkKind('path', 'the weights to load', path)
        const arena = checkWeights(weights)
        await store.reset(matchWeights(path, await readTensors(path), model, arena))
      }),
    save: (path, weights) =>
      queued(async () => {
        checkKind('path', 'the weights to save', path)
        const values = await read(weights)
        const shapes = new Map(model.parameters.map(({ name, shape }) => [name, shape]))
        await writeTensors(
          path,
          new Map([...values].map(([name, value]) => [name, { shape: shapes.get(name)!, values: value }])),
        )
      }),
    grow: (layers, growth = {}) =>
      queued(async () => {
        checkTraining()
        checkKind('mapping', 'the options of a growth', growth)
        const grown = growParameters(await store.state(), model, layers, { ...growth, seed, averages })
        const next = await openStore(device, layoutOf(grown.model), settings, grown.model.name)
        for (const made of programs.values()) addon().closeProgram(made) // each holds the old store's memory
        store.close()
        programs = new Map()
        activations = 0
        ;[store, model] = [next, grown.model]
        await store.restore(grown.state)
      }),
    profile: () =>
      queued(async () => {
        const total: Record<string, number> = {}
        for (const made of programs.values()) {
          const spent = await native(() => addon().programSeconds(made))
          if (!spent)
            throw new AutoprogError(
              'DEVICE',
              `The seconds by op are not known: a step on ${device.kind} runs as one graph`,
              {
                hint: 'Set AUTOPROG_PROFILE=1 before the device is opened: steps then run op by op, somewhat slower.',
              },
            )
          for (const [op, seconds] of Object.entries(spent)) total[op] = (total[op] ?? 0) + seconds
        }
        return total
      }),
    state: () => queued(() => store.state()),
    restore: (stored) =>
      queued(async () => {
        checkKind('map', 'the state', stored)
        await store.restore(stored)
      }),
    close: () =>
      queue.run(async () => {
        if (closed) return
        closed = true
        for (const made of programs.values()) addon().closeProgram(made)
        store.close()
      }),
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
