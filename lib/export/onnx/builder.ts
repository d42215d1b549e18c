/** An ONNX graph under construction: nodes and initializers under names that are read in a viewer. */
import { attribute, type NodeProto, type TensorProto, types } from './schema.js'

type AttributeValues = Readonly<Record<string, Parameters<typeof attribute>[1]>>

export interface Builder {
  readonly nodes: NodeProto[]
  readonly initializers: TensorProto[]
  /** Adds a node and gives the name of its one output. */
  node(opType: string, inputs: readonly string[], attributes?: AttributeValues, name?: string): string
  /** A constant of floats, … */
  floats(name: string, shape: readonly number[], values: Float32Array): string
  /** … or of integers; equal ones are kept once. */
  integers(values: readonly number[]): string
  /** A name that nothing has. */
  unique(name: string): string
}

export function createBuilder(): Builder {
  const nodes: NodeProto[] = []
  const initializers: TensorProto[] = []
  const taken = new Set<string>()
  const known = new Map<string, string>()
  const unique = (name: string) => {
    let free = name
    for (let number = 2; taken.has(free); number++) free = `${name}_${number}`
    taken.add(free)
    return free
  }
  const constant = (name: string, dims: readonly number[], dataType: number, bytes: ArrayBufferView) => {
    const free = unique(name)
    const rawData = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    initializers.push({ name: free, dims, dataType, rawData })
    return free
  }
  return {
    nodes,
    initializers,
    unique,
    node(opType, inputs, attributes = {}, name = opType) {
      const output = unique(name)
      const list = Object.entries(attributes).map(([key, value]) => attribute(key, value))
      nodes.push({ opType, name: output, input: inputs, output: [output], attribute: list })
      return output
    },
    floats: (name, shape, values) => constant(name, shape, types.float, values),
    integers(values) {
      const key = values.join()
      const found = known.get(key)
      if (found !== undefined) return found
      const made = constant(
        `integers_${key.replaceAll(',', '_').replaceAll('-', 'minus')}`,
        [values.length],
        types.int64,
        BigInt64Array.from(values, BigInt),
      )
      known.set(key, made)
      return made
    },
  }
}
