import type { Graph } from './graph.js'

/** Forward multiply-adds of the graph's nodes: the only source of every FLOPs figure. */
export function costOf(graph: Graph): number {
  return graph.nodes.reduce((sum, node) => sum + node.op.cost(node.inputs, node.outputs, node.attributes), 0)
}
