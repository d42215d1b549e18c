import { AutoprogError } from '../errors.js'
import type { Graph, Node, Op } from './graph.js'
import { addNode, addTensor } from './graph.js'
import type { Tensor } from './tensor.js'

/** A tensor and its gradient, from which the backward pass starts. */
export interface Seed {
  readonly tensor: Tensor
  readonly gradient: Tensor
}

/**
 * Appends the backward pass from `seeds` to the graph. Gradients of parameters accumulate (+=) in the `gradients` arena,
 * those of activations are new tensors; `sum` joins the gradients of a tensor that several nodes use.
 *
 * A loss node computes its own gradient, so a loss is its own seed: only that it is wanted counts. Several nodes may add to
 * one loss; each gives the gradient of its part.
 *
 * @param wanted activations whose gradient the caller wants besides, such as a float image
 * @returns the gradients of `wanted`, in order
 */
export function differentiate(
  graph: Graph,
  seeds: readonly Seed[],
  sum: Op<Record<string, never>>,
  wanted: readonly Tensor[] = [],
): Tensor[] {
  const depends = new Set<number>(wanted.map((tensor) => tensor.id))
  const forward = [...graph.nodes]
  for (const node of forward)
    if (node.inputs.some((tensor) => isParameter(tensor) || depends.has(tensor.id)))
      for (const output of node.outputs) depends.add(output.id)

  const gradients = new Map<number, Tensor>()
  const receive = (tensor: Tensor, gradient: Tensor) => {
    const earlier = gradients.get(tensor.id)
    gradients.set(tensor.id, earlier === undefined ? gradient : addNode(graph, sum, [earlier, gradient], {})[0]!)
  }
  for (const { tensor, gradient } of seeds) receive(tensor, gradient)

  for (const node of forward.reverse()) {
    const needed = node.inputs.some((input) => isParameter(input) || depends.has(input.id))
    if (!needed || !node.outputs.some((output) => gradients.has(output.id))) continue
    const results = gradientOf(graph, node, gradients, (tensor) => isParameter(tensor) || depends.has(tensor.id))
    node.inputs.forEach((input, index) => {
      const gradient = results[index]
      if (gradient === undefined) return
      if (isParameter(input)) accumulate(graph, sum, input, gradient)
      else if (depends.has(input.id)) receive(input, gradient)
    })
  }
  return wanted.map((tensor) => {
    const gradient = gradients.get(tensor.id)
    if (gradient === undefined) throw new AutoprogError('SHAPE', `Nothing depends on ${tensor.name}`)
    return gradient
  })
}

function gradientOf(
  graph: Graph,
  node: Node,
  gradients: ReadonlyMap<number, Tensor>,
  needs: (tensor: Tensor) => boolean,
): readonly (Tensor | undefined)[] {
  if (node.op.gradient === 'none')
    throw new AutoprogError('SHAPE', `${node.op.name} has no gradient, but the loss depends on it`)
  return node.op.gradient({
    graph,
    inputs: node.inputs,
    outputs: node.outputs,
    attributes: node.attributes,
    gradients: node.outputs.map((output) => gradients.get(output.id)),
    needs: (index) => needs(node.inputs[index]!),
    accumulator: (index) => {
      const parameter = node.inputs[index]!
      return addTensor(graph, `d ${parameter.name}`, parameter.shape, { arena: 'gradients', offset: parameter.offset })
    },
  })
}

/** Adds a parameter's gradient that an op has as a tensor of its own, as where it takes parameters and activations alike. */
function accumulate(graph: Graph, sum: Op<Record<string, never>>, parameter: Tensor, gradient: Tensor): void {
  const { name, offset } = parameter
  const target = addTensor(graph, `d ${name}`, gradient.shape, { arena: 'gradients', offset })
  addNode(graph, sum, [target, gradient], {}, [target])
}

function isParameter(tensor: Tensor): boolean {
  return tensor.arena === 'weights'
}
