import { AutoprogError } from '../errors.js'
import type { Arena, ElementType, Shape, Tensor, TensorSpecification } from './tensor.js'
import { formatShape, sizeOf } from './tensor.js'

/** What the addon receives of an op besides its tensors: numbers and lists of numbers. */
export type Attributes = Readonly<Record<string, number | readonly number[]>>

/** Reduced precision pays in `low` ops (products); `full` ones keep f32 (norms, softmax, losses, reductions). */
export type PrecisionClass = 'low' | 'full'

/**
 * How an operand is held where a graph runs in reduced precision: so, in f32, as its other users would have it, or, of an
 * input, as the op's first output is.
 */
export type Storage = PrecisionClass | 'any' | 'result'

export interface GradientContext<A extends Attributes> {
  readonly graph: Graph
  readonly inputs: readonly Tensor[]
  readonly outputs: readonly Tensor[]
  readonly attributes: A
  /** Gradient of each output; undefined where nothing depends on it. */
  readonly gradients: readonly (Tensor | undefined)[]
  /** Whether anything needs the gradient of input `index`. */
  needs(index: number): boolean
  /** Where the gradient of a parameter input accumulates (+=). */
  accumulator(index: number): Tensor
}

/** An op's shape, cost and gradient. `gradient` returns one tensor per input: undefined where accumulated or not needed. */
export interface Op<A extends Attributes = Attributes> {
  readonly name: string
  infer(inputs: readonly Tensor[], attributes: A): readonly TensorSpecification[]
  /** Forward multiply-adds. */
  cost(inputs: readonly Tensor[], outputs: readonly Tensor[], attributes: A): number
  readonly gradient: 'none' | ((context: GradientContext<A>) => readonly (Tensor | undefined)[])
  readonly precision: PrecisionClass
  /** Operands held otherwise than the op's class says, by index. Only floating-point activations and weights count. */
  readonly storage?: {
    readonly inputs?: Readonly<Record<number, Storage>>
    readonly outputs?: Readonly<Record<number, Storage>>
    /** The op can write its output `of` a second time, in reduced precision, as an additional output `at` the end. */
    readonly copy?: { readonly of: number; readonly at: number }
  }
  /** Names of the attributes; a test compares them with the addon's. */
  readonly attributes: readonly (keyof A & string)[]
}

/** When a node runs: before the micro-batches, in each of them, or after them. */
export type Phase = 'begin' | 'micro' | 'end'

export interface Node {
  readonly op: Op
  readonly attributes: Attributes
  readonly inputs: readonly Tensor[]
  readonly outputs: readonly Tensor[]
  readonly phase: Phase
}

/** A tensor that the host fills or reads. A sliced one has the micro-batch as first axis, its host array the whole batch. */
export interface Port {
  readonly name: string
  readonly tensor: Tensor
  readonly sliced: boolean
}

export interface Graph {
  readonly tensors: Tensor[]
  readonly nodes: Node[]
  readonly inputs: Port[]
  readonly outputs: Port[]
  /** Phase of the nodes that are added next. */
  phase: Phase
}

export function createGraph(): Graph {
  return { tensors: [], nodes: [], inputs: [], outputs: [], phase: 'micro' }
}

export function addTensor(
  graph: Graph,
  name: string,
  shape: Shape,
  options: { type?: ElementType; arena?: Arena; offset?: number } = {},
): Tensor {
  const tensor: Tensor = {
    id: graph.tensors.length,
    name,
    shape,
    type: options.type ?? 'f32',
    arena: options.arena ?? 'activations',
    offset: options.offset ?? -1,
  }
  graph.tensors.push(tensor)
  return tensor
}

export function addInput(graph: Graph, name: string, shape: Shape, type: ElementType, sliced = true): Tensor {
  const tensor = addTensor(graph, name, shape, { type })
  graph.inputs.push({ name, tensor, sliced })
  return tensor
}

export function addOutput(graph: Graph, name: string, tensor: Tensor, sliced: boolean): void {
  graph.outputs.push({ name, tensor, sliced })
}

/**
 * Appends a node. Outputs are new activations of the inferred shapes, unless `into` gives existing tensors (gradient
 * accumulators, arenas); those must have as many elements.
 */
export function addNode<A extends Attributes>(
  graph: Graph,
  op: Op<A>,
  inputs: readonly Tensor[],
  attributes: A,
  into: readonly (Tensor | undefined)[] = [],
): readonly Tensor[] {
  const specifications = op.infer(inputs, attributes)
  const outputs = specifications.map((specification, index) => {
    const target = into[index]
    if (target === undefined)
      return addTensor(graph, `${op.name}${graph.nodes.length}`, specification.shape, {
        type: specification.type ?? 'f32',
      })
    if (sizeOf(target.shape) !== sizeOf(specification.shape))
      throw shapeError(op.name, target.name, specification.shape, target.shape)
    return target
  })
  // An op is stored without its attribute type: only the addon reads them from here on.
  graph.nodes.push({ op: op as unknown as Op, attributes, inputs, outputs, phase: graph.phase })
  return outputs
}

export function shapeError(op: string, argument: string, wanted: Shape | string, received: Shape): AutoprogError {
  const text = typeof wanted === 'string' ? wanted : formatShape(wanted)
  return new AutoprogError(
    'SHAPE',
    `${op}: Expected shape ${text} for ${argument} but received ${formatShape(received)}`,
  )
}

/**
 * The graph as text, one node a line: `micro residualNorm6#9[2, 5, 8], … = residualNorm(…) {epsilon: 1e-6}`; types other
 * than f32 stand after the shape.
 */
export function formatGraph(graph: Graph): string {
  const tensor = (value: Tensor) =>
    `${value.name}#${value.id}${formatShape(value.shape)}${value.type === 'f32' ? '' : value.type}`
  return graph.nodes
    .map((node) => {
      const attributes = Object.entries(node.attributes)
        .map(([name, value]) => `${name}: ${typeof value === 'number' ? value : formatShape(value)}`)
        .join(', ')
      return `${node.phase} ${node.outputs.map(tensor).join(', ')} = ${node.op.name}(${node.inputs.map(tensor).join(', ')})${attributes && ` {${attributes}}`}`
    })
    .join('\n')
}
