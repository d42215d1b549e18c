import type { Graph } from './graph.js'
import type { Tensor } from './tensor.js'
import { bytesOf } from './tensor.js'

/** Byte offsets of all activations in one arena, and its size. */
export interface MemoryPlan {
  readonly offsets: ReadonlyMap<number, number>
  readonly bytes: number
}

const alignment = 64 // a cache line, and the widest vector

/**
 * Places every activation so that tensors alive at the same time never overlap: largest first, each at the lowest
 * offset that is free during its whole life ("greedy by size"; Pisarchyk and Lee, 2020). Host inputs and outputs, and
 * whatever crosses phases, live throughout.
 */
export function planMemory(graph: Graph): MemoryPlan {
  const lives = lifetimes(graph)
  const order = graph.tensors
    .filter((tensor) => tensor.arena === 'activations' && lives.has(tensor.id))
    .sort((a, b) => bytesOf(b) - bytesOf(a) || a.id - b.id)
  const placed: { from: number; to: number; first: number; last: number }[] = []
  const offsets = new Map<number, number>()
  let bytes = 0
  for (const tensor of order) {
    const size = Math.ceil(bytesOf(tensor) / alignment) * alignment
    const { first, last } = lives.get(tensor.id)!
    let from = 0
    for (const other of placed) {
      if (other.last < first || other.first > last) continue
      if (from + size <= other.from) break // placed is sorted by `from`, so this gap is the lowest
      from = Math.max(from, other.to)
    }
    const entry = { from, to: from + size, first, last }
    const at = placed.findIndex((other) => other.from > from)
    placed.splice(at < 0 ? placed.length : at, 0, entry)
    offsets.set(tensor.id, from)
    bytes = Math.max(bytes, entry.to)
  }
  return { offsets, bytes }
}

/** First and last node that touches each activation. */
export function lifetimes(graph: Graph): Map<number, { first: number; last: number }> {
  const lives = new Map<number, { first: number; last: number; phase: string }>()
  const everything = { first: -1, last: graph.nodes.length, phase: '' }
  const touch = (tensor: Tensor, index: number, phase: string) => {
    const life = lives.get(tensor.id)
    if (life === undefined) lives.set(tensor.id, { first: index, last: index, phase })
    else if (life.phase !== phase) lives.set(tensor.id, everything)
    else life.last = index
  }
  graph.nodes.forEach((node, index) => {
    for (const tensor of [...node.inputs, ...node.outputs]) touch(tensor, index, node.phase)
  })
  for (const port of [...graph.inputs, ...graph.outputs]) lives.set(port.tensor.id, everything)
  return lives
}
