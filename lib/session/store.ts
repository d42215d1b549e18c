/** The parameters of a network on a device, with what training keeps beside them: moments, averages, step counts, loss scale. */
import { AutoprogError, expected } from '../errors.js'
import { arenaIndex } from '../graph/compile.js'
import type { Arena, ParameterArena } from '../graph/tensor.js'
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
  /** Throws CHECKPOINT, before anything changes, where the state lacks something. */
  restore(state: SessionState): Promise<void>
  close(): void
}

/** Reserves the memory of a store; it holds nothing before `reset` or `restore`. */
export async function openStore(
  device: Device,
  layout: Layout,
  { averages, precision, initialScale }: SessionSettings,
): Promise<ParameterStore> {
  const names = [...layout.entries.keys()]
  const handle = await native(() => addon().createSession(device.handle, arenaSizes(layout, averages, precision)))
  const write = (arena: Arena, values: TypedArray) =>
    native(() => addon().writeArena(handle, arenaIndex(arena), 0, values))
  const readRaw = (arena: Arena, type: 'f32' | 'i32', count: number) =>
    native(() => addon().readArena(handle, arenaIndex(arena), 0, type, count))
  const read = async (arena: ParameterArena) =>
    unpack(layout, (await readRaw(arena, 'f32', layout.size)) as Float32Array)
  /** What is kept of every parameter, in as many values as it has. */
  const copies: readonly ParameterArena[] = [
    'weights',
    'moment1',
    'moment2',
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
      const wanted = [...names.flatMap((name) => [...copies, 'steps'].map((arena) => `${arena}/${name}`)), 'scaling']
      const missing = wanted.filter((name) => !state.has(name))
      if (missing.length > 0)
        throw new AutoprogError(
          'CHECKPOINT',
          `The state lacks ${missing.length} of ${wanted.length} tensors, such as ${missing[0]}`,
        )
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

/** Bytes of every arena, in the order of their indices. */
function arenaSizes(layout: Layout, averages: readonly number[], precision: SessionSettings['precision']): number[] {
  const parameters = 4 * layout.size
  const low = precision === 'fp32' ? 0 : 2 * layout.size
  return [
    ...[0, parameters, parameters, parameters, parameters, 4 * layout.entries.size, low, 16],
    ...averages.map(() => parameters),
  ]
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
