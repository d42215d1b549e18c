import { AutoprogError, checkKind, checkOptions, expected } from '../errors.js'
import type { Model } from '../models/model.js'
import { initialValues } from '../models/parameters.js'
import type { TypedArray } from '../native.js'

/**
 * All values of a store by name: `weights/NAME`, `moment1/NAME`, …; `steps` holds one count per parameter, `scaling` the
 * loss scale and what it depends on.
 */
export type SessionState = Map<string, { shape: readonly number[]; values: TypedArray }>

/** Where a block of the grown network starts from. */
export interface LayerSource {
  /** Block of the small network, counted from the input; null for fresh random values. */
  readonly source: number | null
  /** Whether the block is new, rather than the source itself in its new place. */
  readonly added: boolean
}

export interface GrowOptions {
  /** Blocks of each kind of the new network; as many as there are sources unless given, where they are all of one kind. */
  blocks?: readonly number[]
  /** MoGrow: which blocks take their weights from the slowest average; 'none' (the default) is plain copying. */
  fromAverage?: 'none' | 'all' | 'added'
  /** Whether the optimizer's moments and step counts grow with the weights or restart at zero; 'grow' unless given. */
  moments?: 'grow' | 'restart'
  /** Distinguishes the random values of one growth from another's. */
  occasion?: number
}

/**
 * The parameters of a network with other blocks (supplement A, and MoGrow): every copy of the weights grows by the same
 * map from its own values, but the trained weights may come from the slowest average.
 */
export function growParameters(
  state: SessionState,
  model: Model,
  layers: readonly LayerSource[],
  options: GrowOptions & { seed: number; averages: readonly number[] },
): { model: Model; state: SessionState } {
  checkKind('list', 'layers', layers)
  for (const layer of layers) checkOptions('a layer', layer, { added: 'boolean' })
  checkOptions('the options of a growth', options, { blocks: 'numbers', occasion: 'number' })
  const wrong = layers.find(
    ({ source }) => source !== null && !(Number.isInteger(source) && source >= 0 && source < model.depth),
  )
  if (layers.length === 0 || wrong)
    throw new AutoprogError(
      'SHAPE',
      expected(`sources among blocks 0 to ${model.depth - 1}`, 'layers', wrong?.source ?? layers),
    )
  const { fromAverage = 'none', moments = 'grow', averages, seed, occasion = 1 } = options
  if (!['none', 'all', 'added'].includes(fromAverage))
    throw new AutoprogError('CONFIG', expected('none, all or added', 'fromAverage', fromAverage))
  if (!['grow', 'restart'].includes(moments))
    throw new AutoprogError('CONFIG', expected('grow or restart', 'moments', moments))
  if (!Number.isSafeInteger(occasion) || occasion < 0)
    throw new AutoprogError('CONFIG', expected('a non-negative integer', 'occasion', occasion))
  if (fromAverage !== 'none' && averages.length === 0)
    throw new AutoprogError('CONFIG', 'MoGrow takes weights from a moving average, but the session keeps none', {
      hint: 'Give optimizer.averages, such as [0.9996].',
    })
  const slowest = `ema${averages.indexOf(Math.max(...averages))}`
  const { blocks = [layers.length] } = options
  if (blocks.length !== model.blocks.length || blocks.reduce((sum, count) => sum + count, 0) !== layers.length)
    throw new AutoprogError(
      'SHAPE',
      expected(`${model.blocks.length} numbers of blocks, ${layers.length} in all`, 'blocks', blocks),
    )
  const grown = model.withBlocks(blocks)
  const result: SessionState = new Map([['scaling', state.get('scaling')!]])
  for (const specification of grown.parameters) {
    const { name, block, shape } = specification
    const layer = block === undefined ? { source: undefined, added: false } : layers[block]!
    const source =
      typeof layer.source === 'number' && block !== undefined
        ? model.blockPrefix(layer.source) + name.slice(grown.blockPrefix(block).length)
        : name
    const fresh = layer.source === null ? initialValues(specification, seed, occasion) : undefined
    const averaged = fromAverage === 'all' || (fromAverage === 'added' && layer.added)
    const take = (arena: string) => {
      const held = state.get(`${arena}/${source}`)
      if (held !== undefined && (arena === 'steps' || held.shape.join() === shape.join())) return held.values.slice()
      throw new AutoprogError(
        'SHAPE',
        `Block ${layer.source} cannot become block ${block}: ${source} does not fit ${name}`,
      )
    }
    const arenas = ['weights', ...averages.map((_, index) => `ema${index}`)]
    for (const arena of arenas)
      result.set(`${arena}/${name}`, {
        shape,
        values: fresh?.slice() ?? take(arena === 'weights' && averaged ? slowest : arena),
      })
    const restarted = moments === 'restart' || fresh !== undefined
    for (const arena of ['moment1', 'moment2', 'steps']) {
      const values = restarted ? undefined : take(arena)
      const empty =
        arena === 'steps' ? new Int32Array(1) : new Float32Array(shape.reduce((product, extent) => product * extent, 1))
      result.set(`${arena}/${name}`, { shape: arena === 'steps' ? [1] : shape, values: values ?? empty })
    }
  }
  return { model: grown, state: result }
}
