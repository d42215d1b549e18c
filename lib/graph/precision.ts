/** Mixed precision as one pass over a finished graph: what is held in half the size follows from the ops' classes alone. */
import type { Graph, Node, Op, Port, Storage } from './graph.js'
import type { LowType, Tensor } from './tensor.js'
import { sizeOf } from './tensor.js'

/**
 * The same graph in reduced precision (mixed-precision training: Micikevicius et al., 2018). Ops of class `low` read and
 * write `low`; master weights, the residual stream, statistics and gradients of parameters stay f32. Where an op accepts
 * both, its operand takes what its users want, so that most casts cost no pass over memory; the others become nodes.
 * Weights are rounded once, at the beginning of the program. Ports keep their types.
 */
export function lowerPrecision(graph: Graph, low: LowType, cast: Op<Record<string, never>>): Graph {
  const held = typesOf(graph, low)
  const tensors: Tensor[] = graph.tensors.map((tensor) => ({ ...tensor, type: held.get(tensor.id) ?? tensor.type }))
  const nodes: Node[] = []
  const casts = new Map<string, Tensor>()
  const parameters: Tensor[] = []

  const castTo = (tensor: Tensor, type: LowType | 'f32', phase: Node['phase']): Tensor => {
    const key = `${tensor.id} ${type}`
    const known = casts.get(key)
    if (known) return known
    const result: Tensor = { ...tensor, id: tensors.length, name: `${tensor.name}:${type}`, type }
    tensors.push(result)
    casts.set(key, result)
    const maker = nodes.findIndex((node) => node.outputs.some((output) => output.id === tensor.id))
    const made = nodes[maker]
    const copy = made?.op.storage?.copy
    if (type !== 'f32' && made && copy && made.outputs[copy.of]!.id === tensor.id && made.outputs.length === copy.at)
      nodes[maker] = { ...made, outputs: [...made.outputs, result] }
    else nodes.push({ op: cast as unknown as Op, attributes: {}, inputs: [tensor], outputs: [result], phase })
    return result
  }
  const stored = (tensor: Tensor, storage: Storage, phase: Node['phase']): Tensor => {
    const wanted = storage === 'full' ? 'f32' : storage === 'low' ? low : tensor.type
    if (!isFloat(tensor) || tensor.type === wanted) return tensor
    if (tensor.arena === 'activations') return castTo(tensor, wanted as LowType | 'f32', phase)
    parameters.push(tensor)
    const copy: Tensor = { ...tensor, id: tensors.length, arena: 'low', type: low }
    tensors.push(copy)
    return copy
  }

  for (const node of graph.nodes) {
    const result = tensors[node.outputs[0]!.id]!.type === low ? 'low' : 'full'
    const inputs = node.inputs.map((tensor, index) => {
      const storage = storageOf(node.op, 'inputs', index)
      return stored(tensors[tensor.id]!, storage === 'result' ? result : storage, node.phase)
    })
    nodes.push({ ...node, inputs, outputs: node.outputs.map((tensor) => tensors[tensor.id]!) })
  }
  const port = ({ tensor, ...rest }: Port): Port => ({ ...rest, tensor: stored(tensors[tensor.id]!, 'full', 'micro') })
  const outputs = graph.outputs.map(port)
  const inputs = graph.inputs.map(({ tensor, ...rest }) => ({ ...rest, tensor: tensors[tensor.id]! }))
  if (parameters.length > 0) nodes.unshift(roundWeights(parameters, low, cast, tensors))
  return { tensors, nodes, inputs, outputs, phase: graph.phase }
}

/** The activations that are held in reduced precision: decided from the end, since an output follows its users. */
function typesOf(graph: Graph, low: LowType): Map<number, LowType> {
  const held = new Map<number, LowType>()
  const users = new Map<number, { node: Node; index: number }[]>()
  for (const node of graph.nodes)
    for (const [index, { id }] of node.inputs.entries()) users.set(id, [...(users.get(id) ?? []), { node, index }])
  const ports = new Set([...graph.inputs, ...graph.outputs].map((port) => port.tensor.id))
  const writesLow = (node: Node) => node.outputs.some((output) => held.has(output.id))
  const followsUsers = (tensor: Tensor) => {
    const wishes = (users.get(tensor.id) ?? []).map(({ node, index }) => {
      const storage = storageOf(node.op, 'inputs', index)
      if (storage === 'result') return held.has(node.outputs[0]!.id) ? 'low' : 'full'
      return storage === 'any' && writesLow(node) ? 'low' : storage
    })
    return wishes.includes('low') && !wishes.includes('full') && !ports.has(tensor.id)
  }
  for (const node of [...graph.nodes].reverse())
    for (const [index, tensor] of node.outputs.entries()) {
      if (tensor.arena !== 'activations' || !isFloat(tensor)) continue
      const storage = storageOf(node.op, 'outputs', index)
      if (storage === 'low' || (storage === 'any' && followsUsers(tensor))) held.set(tensor.id, low)
    }
  return held
}

function storageOf(op: Op, side: 'inputs' | 'outputs', index: number): Storage {
  return op.storage?.[side]?.[index] ?? op.precision
}

function isFloat({ type }: Tensor): boolean {
  return type !== 'i32' && type !== 'u8'
}

/** One node that rounds the part of the arena from the first parameter used to the last. */
function roundWeights(
  parameters: readonly Tensor[],
  low: LowType,
  cast: Op<Record<string, never>>,
  tensors: Tensor[],
): Node {
  const offset = Math.min(...parameters.map((tensor) => tensor.offset))
  const end = Math.max(...parameters.map((tensor) => tensor.offset + sizeOf(tensor.shape)))
  const { arena } = parameters[0]!
  const make = (name: string, type: 'f32' | LowType, place: Tensor['arena']): Tensor => {
    const tensor: Tensor = { id: tensors.length, name, shape: [end - offset], type, arena: place, offset }
    tensors.push(tensor)
    return tensor
  }
  return {
    op: cast as unknown as Op,
    attributes: {},
    inputs: [make('weights', 'f32', arena)],
    outputs: [make('weights', low, 'low')],
    phase: 'begin',
  }
}
