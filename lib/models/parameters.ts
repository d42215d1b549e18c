import { sizeOf } from '../graph/tensor.js'
import type { Purpose } from '../random.js'
import { draw, Purpose as purposes, toUnit } from '../random.js'
import type { Initialization, Model, ParameterSpecification } from './model.js'

/** Where each parameter lies in the arenas. */
export interface Layout {
  readonly entries: ReadonlyMap<string, Slot>
  /** Elements of one arena. */
  readonly size: number
}

export interface Slot {
  readonly specification: ParameterSpecification
  /** First element. */
  readonly offset: number
  readonly count: number
  /** Place of its step count. */
  readonly index: number
}

const alignment = 16 // elements: a cache line

export function layoutOf(model: Model): Layout {
  const entries = new Map<string, Slot>()
  let size = 0
  for (const specification of model.parameters) {
    const count = sizeOf(specification.shape)
    entries.set(specification.name, { specification, offset: size, count, index: entries.size })
    size += Math.ceil(count / alignment) * alignment
  }
  return { entries, size }
}

/** First values of a parameter; they depend on the seed, its name and `occasion` (0 at the start, the stage at a growth). */
export function initialValues(
  { name, shape, initialization }: ParameterSpecification,
  seed: number,
  occasion = 0,
): Float32Array {
  const values = new Float32Array(sizeOf(shape))
  if (initialization.kind === 'constant') return values.fill(initialization.value)
  const purpose = occasion === 0 ? purposes.initialization : purposes.growth
  fill(values, initialization, seed, purpose, hash(name) + occasion * 2 ** 32)
  return values
}

function fill(
  values: Float32Array,
  initialization: Exclude<Initialization, { kind: 'constant' }>,
  seed: number,
  purpose: Purpose,
  step: number,
) {
  let index = 0
  for (let filled = 0; filled < values.length; index++) {
    const words = draw(seed, purpose, step, index)
    if (initialization.kind === 'uniform') {
      for (const word of words)
        if (filled < values.length) values[filled++] = (2 * toUnit(word) - 1) * initialization.bound
      continue
    }
    for (const pair of [words.slice(0, 2), words.slice(2)]) {
      // Box and Muller; a draw beyond two deviations is drawn again where the distribution is truncated.
      const radius = Math.sqrt(-2 * Math.log(1 - toUnit(pair[0]!)))
      const angle = 2 * Math.PI * toUnit(pair[1]!)
      for (const normal of [radius * Math.cos(angle), radius * Math.sin(angle)]) {
        const inside = initialization.kind === 'normal' || Math.abs(normal) <= 2
        if (inside && filled < values.length) values[filled++] = normal * initialization.deviation
      }
    }
  }
}

/** FNV-1a: a 32-bit address from a name. */
function hash(name: string): number {
  let value = 0x811c9dc5
  for (const character of name) value = Math.imul(value ^ character.codePointAt(0)!, 0x01000193) >>> 0
  return value
}
