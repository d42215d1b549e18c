/**
 * What each op of a forward pass is in ONNX. Our maps are (B, H, W, C) and ONNX's convolutions take (B, C, H, W): a map is
 * turned around where it is asked for in the other order, once, so that a chain of convolutions turns nothing.
 */
import type { Node } from '../../graph/graph.js'
import type { Tensor } from '../../graph/tensor.js'
import { attentionConverters } from './attention.js'
import type { Context, Converter } from './context.js'

/** y = x W^T + b. */
function product({ builder, value, weight }: Context, [x, w, b]: readonly Tensor[], name: string): string {
  const matrix = weight(w!, 'transposed')
  const y = builder.node('MatMul', [value(x!), matrix], {}, `${name}/MatMul`)
  return b ? builder.node('Add', [y, weight(b)], {}, `${name}/Add`) : y
}

/** 0.5 x (1 + erf(x / sqrt(2))). */
function gelu({ builder }: Context, x: string, name: string): string {
  const scalar = (value: number) => builder.floats(`${name}/${value}`, [], Float32Array.of(value))
  const scaled = builder.node('Mul', [x, scalar(Math.SQRT1_2)], {}, `${name}/scaled`)
  const error = builder.node('Erf', [scaled], {}, `${name}/Erf`)
  const shifted = builder.node('Add', [error, scalar(1)], {}, `${name}/shifted`)
  const half = builder.node('Mul', [x, scalar(0.5)], {}, `${name}/half`)
  return builder.node('Mul', [half, shifted], {}, `${name}/Gelu`)
}

function normalized(
  { builder, weight }: Context,
  x: string,
  [gamma, beta]: readonly Tensor[],
  epsilon: number,
  name: string,
) {
  const inputs = [x, weight(gamma!), weight(beta!)]
  return builder.node(
    'LayerNormalization',
    inputs,
    { axis: -1, epsilon: { float: epsilon } },
    `${name}/LayerNormalization`,
  )
}

const number = (node: Node, name: string) => node.attributes[name] as number

export const converters: Readonly<Record<string, Converter>> = {
  ...attentionConverters,

  linear: (context, { inputs, outputs }, name) => context.set(outputs[0]!, product(context, inputs, name)),

  linearGelu: (context, { inputs, outputs }, name) =>
    context.set(outputs[1]!, gelu(context, product(context, inputs, name), name)),

  layerNorm: (context, node, name) => {
    const [x, ...parameters] = node.inputs
    context.set(node.outputs[0]!, normalized(context, context.value(x!), parameters, number(node, 'epsilon'), name))
  },

  residualNorm: (context, node, name) => {
    const [x, branch, ...parameters] = node.inputs
    const sum = context.builder.node('Add', [context.value(x!), context.value(branch!)], {}, `${name}/Add`)
    context.set(node.outputs[0]!, sum)
    context.set(node.outputs[1]!, normalized(context, sum, parameters, number(node, 'epsilon'), name))
  },

  add: (context, { inputs: [a, b], outputs: [y] }, name) =>
    context.elementwise([a!, b!], y!, (names) => context.builder.node('Add', names, {}, `${name}/Add`)),

  reshape: (context, { inputs: [x], outputs: [y] }, name) => {
    const shape = context.builder.integers([-1, ...y!.shape.slice(1)])
    context.set(y!, context.builder.node('Reshape', [context.value(x!), shape], {}, `${name}/Reshape`))
  },

  patches: (context, node, name) => {
    const { builder } = context
    const [x, y] = [node.inputs[0]!, node.outputs[0]!]
    const patch = number(node, 'patch')
    const [, height, width, channels] = x.shape as [number, number, number, number]
    // (B, H, W, C) -> (B, h, p, w, p, C) -> (B, h, w, C, p, p) -> (B, h w, C p p)
    const split = builder.integers([-1, height / patch, patch, width / patch, patch, channels])
    const parted = builder.node('Reshape', [context.value(x), split], {}, `${name}/parted`)
    const turned = builder.node('Transpose', [parted], { perm: [0, 1, 3, 5, 2, 4] }, `${name}/turned`)
    context.set(
      y,
      builder.node('Reshape', [turned, builder.integers([-1, ...y.shape.slice(1)])], {}, `${name}/Reshape`),
    )
  },

  resizePosition: (context, node, name) => {
    const { builder, weight } = context
    const [position, y] = [node.inputs[0]!, node.outputs[0]!]
    const [from, to, prefix] = ['from', 'to', 'prefix'].map((key) => number(node, key)) as [number, number, number]
    const width = position.shape.at(-1)!
    const rows = weight(position, [1, prefix + from ** 2, width])
    if (from === to) return context.set(y, rows)
    const part = (begin: number, end: number) =>
      builder.node('Slice', [rows, ...[[begin], [end], [1]].map(builder.integers)], {}, `${name}/Slice`)
    const grid = builder.node(
      'Reshape',
      [part(prefix, prefix + from ** 2), builder.integers([1, from, from, width])],
      {},
      `${name}/grid`,
    )
    const turned = builder.node('Transpose', [grid], { perm: [0, 3, 1, 2] }, `${name}/turned`)
    const resized = builder.node(
      'Resize',
      [turned, '', '', builder.integers([1, width, to, to])],
      { mode: 'cubic', cubic_coeff_a: { float: -0.75 }, coordinate_transformation_mode: 'half_pixel' },
      `${name}/Resize`,
    )
    const back = builder.node('Transpose', [resized], { perm: [0, 2, 3, 1] }, `${name}/back`)
    const flat = builder.node('Reshape', [back, builder.integers([1, to ** 2, width])], {}, `${name}/Reshape`)
    context.set(y, prefix === 0 ? flat : builder.node('Concat', [part(0, prefix), flat], { axis: 1 }, `${name}/Concat`))
  },

  addPosition: (context, { inputs: [x, position], outputs: [y] }, name) => {
    const { builder } = context
    const rows = builder.node(
      'Reshape',
      [context.value(position!), builder.integers([1, ...x!.shape.slice(1)])],
      {},
      `${name}/Reshape`,
    )
    context.set(y!, builder.node('Add', [context.value(x!), rows], {}, `${name}/Add`))
  },

  tokens: (context, { inputs: [rows, classToken, position], outputs: [y] }, name) => {
    const { builder } = context
    const token = context.repeated(
      context.weight(classToken!, [1, 1, y!.shape[2]!]),
      context.value(rows!),
      [1, y!.shape[2]!],
      name,
    )
    const joined = builder.node('Concat', [token, context.value(rows!)], { axis: 1 }, `${name}/Concat`)
    context.set(y!, builder.node('Add', [joined, context.value(position!)], {}, `${name}/Add`))
  },

  repeatImages: (context, { inputs: [x], outputs: [y] }, name) => {
    const rest = y!.shape.slice(1)
    context.set(y!, context.repeated(context.weight(x!, [1, ...rest]), context.images, rest, name))
  },

  selectToken: (context, { inputs: [x], outputs: [y] }, name) => {
    const { builder } = context
    const inputs = [context.value(x!), ...[[0], [1], [1]].map(builder.integers)]
    context.set(y!, builder.node('Slice', inputs, {}, `${name}/Slice`))
  },

  dropToken: (context, { inputs: [x], outputs: [y] }, name) => {
    const { builder } = context
    const inputs = [context.value(x!), ...[[1], [x!.shape[1]!], [1]].map(builder.integers)]
    context.set(y!, builder.node('Slice', inputs, {}, `${name}/Slice`))
  },

  prependToken: (context, { inputs: [x, token], outputs: [y] }, name) => {
    const names = [context.value(token!), context.value(x!)]
    context.set(y!, context.builder.node('Concat', names, { axis: 1 }, `${name}/Concat`))
  },

  addTokenMax: (context, node, name) => {
    const { builder, value } = context
    const [y, x] = node.inputs
    const most = builder.node('ReduceMax', [value(x!)], { axes: [1], keepdims: 1 }, `${name}/ReduceMax`)
    const scale = builder.floats(`${name}/scale`, [], Float32Array.of(number(node, 'scale')))
    const share = builder.node('Mul', [most, scale], {}, `${name}/Mul`)
    const flat = builder.node('Reshape', [share, builder.integers([-1, ...y!.shape.slice(1)])], {}, `${name}/Reshape`)
    context.set(node.outputs[0]!, builder.node('Add', [value(y!), flat], {}, `${name}/Add`))
  },

  convolution: (context, node, name) => {
    const { builder, weight } = context
    const [x, kernel, bias] = node.inputs
    const [stride, padding] = [number(node, 'stride'), number(node, 'padding')]
    const inputs = [context.channelsFirst(x!), weight(kernel!), ...(bias ? [weight(bias)] : [])]
    const attributes = { strides: [stride, stride], pads: Array(4).fill(padding) as number[] }
    context.setChannelsFirst(node.outputs[0]!, builder.node('Conv', inputs, attributes, `${name}/Conv`))
  },

  batchNormInference: (context, node, name) => {
    const { builder, weight } = context
    const [x, ...rest] = node.inputs
    const [parameters, residual] = [rest.slice(0, 4), rest[4]]
    const inputs = [context.channelsFirst(x!), ...parameters.map((each) => weight(each))]
    let y = builder.node(
      'BatchNormalization',
      inputs,
      { epsilon: { float: number(node, 'epsilon') } },
      `${name}/BatchNormalization`,
    )
    if (residual) y = builder.node('Add', [y, context.channelsFirst(residual)], {}, `${name}/Add`)
    if (number(node, 'relu')) y = builder.node('Relu', [y], {}, `${name}/Relu`)
    context.setChannelsFirst(node.outputs[0]!, y)
  },

  maxPool: (context, node, name) => {
    const [kernel, stride, padding] = ['kernel', 'stride', 'padding'].map((key) => number(node, key)) as [
      number,
      number,
      number,
    ]
    const attributes = {
      kernel_shape: [kernel, kernel],
      strides: [stride, stride],
      pads: Array(4).fill(padding) as number[],
    }
    const pooled = context.builder.node(
      'MaxPool',
      [context.channelsFirst(node.inputs[0]!)],
      attributes,
      `${name}/MaxPool`,
    )
    context.setChannelsFirst(node.outputs[0]!, pooled)
  },

  averagePool: (context, node, name) => {
    const size = number(node, 'size')
    const attributes = { kernel_shape: [size, size], strides: [size, size], ceil_mode: 1, count_include_pad: 0 }
    const pooled = context.builder.node(
      'AveragePool',
      [context.channelsFirst(node.inputs[0]!)],
      attributes,
      `${name}/AveragePool`,
    )
    context.setChannelsFirst(node.outputs[0]!, pooled)
  },

  globalAveragePool: (context, { inputs: [x], outputs: [y] }, name) => {
    const pooled = context.builder.node(
      'GlobalAveragePool',
      [context.channelsFirst(x!)],
      {},
      `${name}/GlobalAveragePool`,
    )
    context.set(y!, context.builder.node('Flatten', [pooled], { axis: 1 }, `${name}/Flatten`))
  },
}
