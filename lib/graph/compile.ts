import { AutoprogError } from '../errors.js'
import type { ProgramDescription } from '../native.js'
import type { Graph } from './graph.js'
import { planMemory } from './memory.js'
import type { Arena } from './tensor.js'
import { byteOffsetOf, bytesOf } from './tensor.js'

const phases = { begin: 0, micro: 1, end: 2 } as const

const fixedArenas: readonly Arena[] = [
  'activations',
  'weights',
  'gradients',
  'moment1',
  'moment2',
  'steps',
  'low',
  'scaling',
]

/** Index of each arena in a session; activations first, then the parameter store's. */
export function arenaIndex(arena: Arena): number {
  if (arena.startsWith('ema')) return fixedArenas.length + Number(arena.slice(3))
  return fixedArenas.indexOf(arena)
}

/** The flat op list that the addon runs, with every tensor at its place. */
export function compile(graph: Graph, batch: number, microBatch: number): ProgramDescription {
  verify(graph)
  const plan = planMemory(graph)
  const used = [...new Set([...graph.nodes.flatMap((node) => [...node.inputs, ...node.outputs]), ...ports(graph)])]
  const index = new Map(used.map((tensor, position) => [tensor.id, position]))
  const indexOf = (tensor: { id: number }) => index.get(tensor.id)!
  return {
    batch,
    microBatch,
    activationBytes: plan.bytes,
    tensors: used.map((tensor) => ({
      arena: arenaIndex(tensor.arena),
      offset: tensor.arena === 'activations' ? plan.offsets.get(tensor.id)! : byteOffsetOf(tensor),
      type: tensor.type,
      shape: tensor.shape,
    })),
    nodes: graph.nodes.map((node) => ({
      op: node.op.name,
      phase: phases[node.phase],
      inputs: node.inputs.map(indexOf),
      outputs: node.outputs.map(indexOf),
      attributes: node.attributes,
    })),
    inputs: graph.inputs.map(({ name, tensor, sliced }) => ({ name, tensor: indexOf(tensor), sliced })),
    outputs: graph.outputs.map(({ name, tensor, sliced }) => ({ name, tensor: indexOf(tensor), sliced })),
  }
}

function ports(graph: Graph) {
  return [...graph.inputs, ...graph.outputs].map((port) => port.tensor)
}

/** Every activation is written before it is read, and activations never overlap while alive. */
export function verify(graph: Graph): void {
  const written = new Set(graph.inputs.map((port) => port.tensor.id))
  for (const phase of ['begin', 'micro', 'end'] as const) {
    for (const node of graph.nodes) {
      if (node.phase !== phase) continue
      for (const input of node.inputs)
        if (input.arena === 'activations' && !written.has(input.id))
          throw new AutoprogError('SHAPE', `${node.op.name} reads ${input.name}, which nothing has written`)
      for (const output of node.outputs) written.add(output.id)
    }
  }
  for (const port of graph.outputs)
    if (port.tensor.arena === 'activations' && !written.has(port.tensor.id) && bytesOf(port.tensor) > 0)
      throw new AutoprogError('SHAPE', `Nothing writes the output ${port.name}`)
}
