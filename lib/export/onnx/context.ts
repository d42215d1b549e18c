/** What a converter of an op works with: the ONNX names of tensors, weights with their values, and the order of maps. */
import { AutoprogError } from '../../errors.js'
import type { Node } from '../../graph/graph.js'
import type { Tensor } from '../../graph/tensor.js'
import { sizeOf } from '../../graph/tensor.js'
import type { Builder } from './builder.js'

export interface Context {
  readonly builder: Builder
  /** The input, of which the first axis is the batch. */
  readonly images: string
  /** The name of a tensor; maps as (B, H, W, C). */
  value(tensor: Tensor): string
  set(tensor: Tensor, name: string): void
  /** The same of maps as (B, C, H, W). */
  channelsFirst(tensor: Tensor): string
  setChannelsFirst(tensor: Tensor, name: string): void
  /** Applies work that does not care for the order of axes, in the order that the operands have. */
  elementwise(inputs: readonly Tensor[], output: Tensor, work: (names: readonly string[]) => string): void
  /** A weight in its own shape, in another, or transposed as a matrix (in, out). */
  weight(tensor: Tensor, as?: 'transposed' | readonly number[]): string
  /** A tensor (1, …) for every image of the batch; `rest` is its shape without the first axis. */
  repeated(name: string, like: string, rest: readonly number[], at: string): string
}

export type Converter = (context: Context, node: Node, name: string) => void

export function createContext(
  builder: Builder,
  images: string,
  valuesOf: (tensor: Tensor) => Float32Array | undefined,
): Context {
  const [last, first] = [new Map<Tensor, string>(), new Map<Tensor, string>()]
  const weights = new Map<string, string>()
  const found = (tensor: Tensor): never => {
    throw new AutoprogError('CONFIG', `No value of ${tensor.name || 'a tensor'} has been exported`)
  }
  const turn = (name: string, perm: readonly number[]) =>
    builder.node('Transpose', [name], { perm }, `${name}/Transpose`)
  const weight: Context['weight'] = (tensor, as) => {
    const values = valuesOf(tensor)
    if (values === undefined) return context.value(tensor)
    const key = `${tensor.id}:${as ?? ''}`
    const known = weights.get(key)
    if (known !== undefined) return known
    const name =
      as === 'transposed'
        ? builder.floats(`${tensor.name}.transposed`, ...transposed(tensor, values))
        : builder.floats(tensor.name, as ?? tensor.shape, values)
    weights.set(key, name)
    return name
  }
  const context: Context = {
    builder,
    images,
    weight,
    value(tensor) {
      const name = last.get(tensor)
      if (name !== undefined) return name
      if (valuesOf(tensor) !== undefined) return weight(tensor)
      const turned = turn(first.get(tensor) ?? found(tensor), [0, 2, 3, 1])
      last.set(tensor, turned)
      return turned
    },
    set: (tensor, name) => void last.set(tensor, name),
    channelsFirst(tensor) {
      const name = first.get(tensor)
      if (name !== undefined) return name
      const turned = turn(context.value(tensor), [0, 3, 1, 2])
      first.set(tensor, turned)
      return turned
    },
    setChannelsFirst: (tensor, name) => void first.set(tensor, name),
    elementwise(inputs, output, work) {
      const isFirst = inputs.every((tensor) => first.has(tensor))
      if (isFirst) context.setChannelsFirst(output, work(inputs.map(context.channelsFirst)))
      else context.set(output, work(inputs.map(context.value)))
    },
    repeated(name, like, rest, at) {
      const shape = builder.node('Shape', [like], {}, `${at}/Shape`)
      const batch = builder.node('Slice', [shape, ...[[0], [1], [0]].map(builder.integers)], {}, `${at}/batch`)
      const wanted = builder.node('Concat', [batch, builder.integers(rest)], { axis: 0 }, `${at}/shape`)
      return builder.node('Expand', [name, wanted], {}, `${at}/Expand`)
    },
  }
  return context
}

/** (out, …) as a matrix (in, out). */
function transposed({ shape }: Tensor, values: Float32Array): [shape: number[], values: Float32Array] {
  const rows = shape[0]!
  const columns = sizeOf(shape) / rows
  const turned = new Float32Array(values.length)
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) turned[j * rows + i] = values[i * columns + j]!
  return [[columns, rows], turned]
}
