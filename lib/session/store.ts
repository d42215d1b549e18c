/** The parameters of a network on a device, with what training keeps beside them: moments, averages, step counts, loss scale. */
import { AutoprogError, describe, expected, someOf } from '../errors.js'
import { arenaIndex } from '../graph/compile.js'
import type { Arena, ParameterArena } from '../graph/tensor.js'
import type { Needs } from '../memory.js'
import { checkMemory } from '../memory.js'
import type { Layout } from '../models/parameters.js'
import type { Device, SessionHandle, TypedArray } from '../native.js'
import { addon, native } from '../native.js'
import type { SessionState } from './grow.js'
import type { SessionSettings } from './options.js'

export interface ParameterStore {
  readonly handle: SessionHandle
  readonly layout: Layout
  /** One copy of the parameters, or what belongs to each of them, by their names. */
  read(arena: ParameterArena): Promise<Map<string, Float32Array>>
  /** Sets the weights and all their averages; the optimizer and the loss scale begin anew. Throws SHAPE for a wrong length. */
  reset(weights: ReadonlyMap<string, Float32Array>): Promise<void>
  state(): Promise<SessionState>
  /** Throws CHECKPOINT, before anything changes, where the state is not of a store of this layout and these averages. */
  restore(state: SessionState): Promise<void>
  close(): void
}

/** Reserves the memory of a store; it holds nothing before `reset` or `restore`. Throws MEMORY, before that, where it cannot fit. */
export async function openStore(
  device: Device,
  layout: Layout,
  { averages, precision, initialScale, training }: SessionSettings,
  name: string,
): Promise<ParameterStore> {
  const names = [...layout.entries.keys()]
  const sizes = arenaSizes(layout, { averages, precision, training })
  await checkRoom(device, layout, sizes, name)
  const handle = await native(() => addon().createSession(device.handle, Object.values(sizes)))
  const write = (arena: Arena, values: TypedArray) =>
    native(() => addon().writeArena(handle, arenaIndex(arena), 0, values))
  const readRaw = (arena: Arena, type: 'f32' | 'i32', count: number) =>
    native(() => addon().readArena(handle, arenaIndex(arena), 0, type, count))
  const read = async (arena: ParameterArena) =>
    unpack(layout, (await readRaw(arena, 'f32', layout.size)) as Float32Array)
  /** What is kept of every parameter, in as many values as it has. */
  const copies: readonly ParameterArena[] = [
    'weights',
    ...(training ? (['moment1', 'moment2'] as const) : []),
    ...averages.map((_, index): ParameterArena => `ema${index}`),
  ]
  return {
    handle,
    layout,
    read,
    reset: async (weights) => {
      const packed = pack(layout, weights)
      for (const arena of copies)
        await write(arena, arena.startsWith('moment') ? new Float32Array(layout.size) : packed)
      await write('steps', new Int32Array(names.length))
      await write('scaling', Float32Array.of(initialScale, 0, 0, 0))
    },
    state: async () => {
      const needs = { [`${copies.length} copies of the parameters`]: copies.length * 4 * layout.size }
      checkMemory(`The state of ${name}`, needs, addon().availableMemory(), lessMemory)
      const state: SessionState = new Map()
      for (const arena of copies)
        for (const [name, values] of await read(arena))
          state.set(`${arena}/${name}`, { shape: layout.entries.get(name)!.specification.shape, values })
      const steps = await readRaw('steps', 'i32', names.length)
      for (const [name, { index }] of layout.entries)
        state.set(`steps/${name}`, { shape: [1], values: steps.slice(index, index + 1) })
      state.set('scaling', { shape: [4], values: await readRaw('scaling', 'f32', 4) })
      return state
    },
    restore: async (state) => {
      checkState(state, layout, copies, name)
      for (const arena of copies) {
        const values = names.map((name) => [name, state.get(`${arena}/${name}`)!.values as Float32Array] as const)
        await write(arena, pack(layout, new Map(values)))
      }
      const steps = new Int32Array(names.length)
      for (const [name, { index }] of layout.entries) steps[index] = state.get(`steps/${name}`)!.values[0]!
      await write('steps', steps)
      await write('scaling', state.get('scaling')!.values)
    },
    close: () => addon().closeSession(handle),
  }
}

/** Throws CHECKPOINT, naming the first mismatches and counting the rest, unless the state holds what the store does and no more. */
function checkState(state: SessionState, layout: Layout, copies: readonly ParameterArena[], model: string): void {
  const wanted = new Map<unknown, readonly [type: typeof Float32Array | typeof Int32Array, shape: readonly number[]]>()
  for (const [name, { specification }] of layout.entries) {
    for (const arena of copies) wanted.set(`${arena}/${name}`, [Float32Array, specification.shape])
    wanted.set(`steps/${name}`, [Int32Array, [1]])
  }
  wanted.set('scaling', [Float32Array, [4]])
  const problems: string[] = []
  for (const [name, [type, shape]] of wanted) {
    const problem = state.has(name as string) ? misfit(state.get(name as string), type, shape) : 'is missing'
    if (problem !== undefined) problems.push(`${name} ${problem}`)
  }
  for (const name of state.keys())
    if (!wanted.has(name)) problems.push(`${typeof name === 'string' ? name : describe(name)} is not part of it`)
  if (problems.length > 0)
    throw new AutoprogError('CHECKPOINT', `The state does not fit ${model}:\n  ${someOf(problems, '\n  ', 8)}`, {
      hint: 'Restore it in a session of the same network, with as many blocks and moving averages; session.load takes the weights alone.',
    })
}

/** What is wrong with a tensor of a state, if anything. */
function misfit(
  tensor: unknown,
  type: typeof Float32Array | typeof Int32Array,
  wanted: readonly number[],
): string | undefined {
  const { shape, values } = (tensor ?? {}) as { shape?: unknown; values?: unknown }
  const count = wanted.reduce((product, extent) => product * extent, 1)
  if (!(values instanceof type) || values.length !== count)
    return `has values ${describe(values)} instead of ${type.name} of length ${count}`
  if (
    !Array.isArray(shape) ||
    shape.length !== wanted.length ||
    wanted.some((extent, index) => shape[index] !== extent)
  )
    return `has shape ${describe(shape)} instead of [${wanted.join(', ')}]`
  return undefined
}

const lessMemory =
  'Use a smaller model or fewer moving averages, or a machine or container with more memory; close what else uses it.'

/** Values and copies of them on the way from JavaScript to the arenas. */
const copiesOnTheWay = 3

/** Throws MEMORY where a device's or the host's memory cannot hold what it is about to. */
async function checkRoom(device: Device, layout: Layout, sizes: Needs, name: string): Promise<void> {
  const arenas = Object.fromEntries(Object.entries(sizes).filter(([, bytes]) => bytes > 0))
  const onTheWay = { 'first values on their way': copiesOnTheWay * 4 * layout.size }
  const subject = `A session of ${name}`
  const isHost = device.kind === 'cpu'
  const free = await native(() => addon().freeMemory(device.handle))
  checkMemory(subject, isHost ? { ...arenas, ...onTheWay } : arenas, free, lessMemory)
  if (!isHost) checkMemory(subject, onTheWay, addon().availableMemory(), lessMemory)
}

/** Bytes of every arena, in the order of their indices. */
function arenaSizes(
  layout: Layout,
  { averages, precision, training }: Pick<SessionSettings, 'averages' | 'precision' | 'training'>,
): Needs {
  const parameters = 4 * layout.size
  const trained = training ? parameters : 0
  return {
    ...{ activations: 0, weights: parameters, gradients: trained, moment1: trained, moment2: trained },
    ...{ steps: 4 * layout.entries.size, low: precision === 'fp32' ? 0 : 2 * layout.size, scaling: 16 },
    ...Object.fromEntries(averages.map((_, index) => [`ema${index}`, parameters])),
  }
}

function pack(layout: Layout, values: ReadonlyMap<string, Float32Array>): Float32Array {
  const packed = new Float32Array(layout.size)
  for (const [name, slot] of layout.entries) {
    const value = values.get(name)
    if (value?.length !== slot.count) throw new AutoprogError('SHAPE', expected(`${slot.count} values`, name, value))
    packed.set(value, slot.offset)
  }
  return packed
}

function unpack(layout: Layout, packed: Float32Array): Map<string, Float32Array> {
  return new Map([...layout.entries].map(([name, { offset, count }]) => [name, packed.slice(offset, offset + count)]))
}
