import type { GradientContext, Graph } from '../graph/graph.js'
import { addNode, shapeError } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { lastOf, rowsOf, sizeOf } from '../graph/tensor.js'
import { defineOp, noCost } from './define.js'

type None = Record<string, never>

/** The output's shape: x's with the last axis replaced. The weight is [out, in], or a convolution kernel [out, in, kh, kw]. */
function inferProduct(name: string, [x, weight, bias]: readonly Tensor[]) {
  const out = weight!.shape[0]!
  if (sizeOf(weight!.shape) !== out * lastOf(x!))
    throw shapeError(name, 'weight', `[${out}, ${lastOf(x!)}]`, weight!.shape)
  if (bias !== undefined && sizeOf(bias.shape) !== out) throw shapeError(name, 'bias', [out], bias.shape)
  return [...x!.shape.slice(0, -1), out]
}

const productCost = (inputs: readonly Tensor[]) => rowsOf(inputs[0]!) * sizeOf(inputs[1]!.shape)

/** dy, weight -> dx (=). */
const linearGradientInput = defineOp<None>('linearGradientInput', {
  infer: ([dy, weight]) => [{ shape: [...dy!.shape.slice(0, -1), sizeOf(weight!.shape) / weight!.shape[0]!] }],
  cost: noCost,
  gradient: 'none',
  precision: 'low',
  attributes: [],
})

/** dy, x -> dweight (+=), dbias (+=). */
const linearGradientWeight = defineOp<{ biased: number }>('linearGradientWeight', {
  infer: ([dy, x], { biased }) => [{ shape: [lastOf(dy!), lastOf(x!)] }, { shape: [lastOf(dy!)] }].slice(0, 1 + biased),
  cost: noCost,
  gradient: 'none',
  precision: 'low',
  attributes: ['biased'],
})

/** dy, h -> dh (=). */
const geluGradient = defineOp<None>('geluGradient', {
  infer: ([, h]) => [{ shape: h!.shape }],
  cost: noCost,
  gradient: 'none',
  precision: 'low',
  attributes: [],
})

function productGradients(context: GradientContext<None>, dy: Tensor): (Tensor | undefined)[] {
  const { graph, inputs } = context
  const bias = inputs.length > 2 ? [context.accumulator(2)] : []
  addNode(graph, linearGradientWeight, [dy, inputs[0]!], { biased: bias.length }, [context.accumulator(1), ...bias])
  return [context.needs(0) ? addNode(graph, linearGradientInput, [dy, inputs[1]!], {})[0] : undefined]
}

const linearOp = defineOp<None>('linear', {
  infer: (inputs) => [{ shape: inferProduct('linear', inputs) }],
  cost: productCost,
  gradient: (context) => productGradients(context, context.gradients[0]!),
  precision: 'low',
  storage: { inputs: { 2: 'result' }, outputs: { 0: 'any' } }, // libraries add a bias of the result's type alone
  attributes: [],
})

const linearGeluOp = defineOp<None>('linearGelu', {
  infer: (inputs) => {
    const shape = inferProduct('linearGelu', inputs)
    return [{ shape }, { shape }]
  },
  cost: productCost,
  gradient: (context) => {
    const dh = addNode(context.graph, geluGradient, [context.gradients[1]!, context.outputs[0]!], {})[0]!
    return productGradients(context, dh)
  },
  precision: 'low',
  attributes: [],
})

/** y = x W^T + b: x (…, in), weight (out, in), bias (out) -> (…, out). */
export function linear(graph: Graph, x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  return addNode(graph, linearOp, bias ? [x, weight, bias] : [x, weight], {})[0]!
}

/** GELU(x W^T + b), with GELU in the erf form: x (…, in), weight (out, in), bias (out) -> (…, out). */
export function linearGelu(graph: Graph, x: Tensor, weight: Tensor, bias: Tensor): Tensor {
  return addNode(graph, linearGeluOp, [x, weight, bias], {})[1]!
}
