/** Attention in ONNX, by products and softmax, which runtimes fuse. */
import type { Node } from '../../graph/graph.js'
import type { Context, Converter } from './context.js'

/** softmax(q k^T / sqrt(d)) v of (B, H, ·, d), as (B, Q, H d). */
function attend({ builder }: Context, q: string, k: string, v: string, node: Node, name: string): string {
  const heads = node.attributes.heads as number
  const [, queries, width] = node.outputs[0]!.shape as [number, number, number]
  const scale = builder.floats(`${name}/scale`, [], Float32Array.of((width / heads) ** -0.5))
  const scaled = builder.node('Mul', [q, scale], {}, `${name}/scaled`)
  const keys = builder.node('Transpose', [k], { perm: [0, 1, 3, 2] }, `${name}/keys`)
  const scores = builder.node('MatMul', [scaled, keys], {}, `${name}/scores`)
  const probabilities = builder.node('Softmax', [scores], { axis: -1 }, `${name}/Softmax`)
  const mixed = builder.node('MatMul', [probabilities, v], {}, `${name}/mixed`)
  const turned = builder.node('Transpose', [mixed], { perm: [0, 2, 1, 3] }, `${name}/joined`)
  return builder.node('Reshape', [turned, builder.integers([-1, queries, width])], {}, `${name}/Attention`)
}

/** (B, N, parts H d) -> each part as (B, H, N, d). */
function parted(
  { builder }: Context,
  x: string,
  shape: readonly number[],
  parts: number,
  heads: number,
  name: string,
): string[] {
  const [, rows, width] = shape as [number, number, number]
  const split = builder.integers([-1, rows, parts, heads, width / parts / heads])
  const grouped = builder.node('Reshape', [x, split], {}, `${name}/parts`)
  const turned = builder.node('Transpose', [grouped], { perm: [2, 0, 3, 1, 4] }, `${name}/heads`)
  return Array.from({ length: parts }, (_, part) => {
    const index = builder.integers([part])
    const one = builder.node('Gather', [turned, index], { axis: 0 }, `${name}/part`)
    return builder.node('Squeeze', [one, builder.integers([0])], {}, `${name}/Squeeze`)
  })
}

export const attentionConverters: Readonly<Record<string, Converter>> = {
  attention: (context, node, name) => {
    const [qkv] = node.inputs
    const heads = node.attributes.heads as number
    const [q, k, v] = parted(context, context.value(qkv!), qkv!.shape, 3, heads, name) as [string, string, string]
    context.set(node.outputs[0]!, attend(context, q, k, v, node, name))
  },

  classAttention: (context, node, name) => {
    const [query, kv] = node.inputs
    const heads = node.attributes.heads as number
    const [q] = parted(context, context.value(query!), query!.shape, 1, heads, `${name}/query`) as [string]
    const [k, v] = parted(context, context.value(kv!), kv!.shape, 2, heads, name) as [string, string]
    context.set(node.outputs[0]!, attend(context, q, k, v, node, name))
  },

  // Windows are gathered by a convolution whose kernels hold a single 1, and what becomes of them is put back by its
  // transpose, which adds up where windows overlap.
  outlookAttention: (context, node, name) => {
    const { builder } = context
    const [values, scores] = node.inputs
    const { heads, kernel, stride, padding } = node.attributes as Record<
      'heads' | 'kernel' | 'stride' | 'padding',
      number
    >
    const [, height, width, channels] = values!.shape as [number, number, number, number]
    const [, rows, columns] = scores!.shape as [number, number, number]
    const [places, positions, depth] = [kernel ** 2, rows * columns, channels / heads]
    const ones = new Float32Array(channels * places ** 2)
    for (let plane = 0; plane < channels * places; plane++) ones[plane * places + (plane % places)] = 1
    const picks = builder.floats(`${name}/picks`, [channels * places, 1, kernel, kernel], ones)
    const window = { kernel_shape: [kernel, kernel], strides: [stride, stride], group: channels }
    const pads = Array(4).fill(padding) as number[]
    const unfolded = builder.node(
      'Conv',
      [context.channelsFirst(values!), picks],
      { ...window, pads },
      `${name}/unfolded`,
    )
    // (B, C k k, h, w) -> (B, H, h w, k k, d)
    const grouped = builder.node(
      'Reshape',
      [unfolded, builder.integers([-1, heads, depth, places, positions])],
      {},
      `${name}/grouped`,
    )
    const gathered = builder.node('Transpose', [grouped], { perm: [0, 1, 4, 3, 2] }, `${name}/gathered`)
    // (B, h, w, H k^4) -> (B, H, h w, k k, k k)
    const table = builder.node(
      'Reshape',
      [context.value(scores!), builder.integers([-1, positions, heads, places, places])],
      {},
      `${name}/table`,
    )
    const turned = builder.node('Transpose', [table], { perm: [0, 2, 1, 3, 4] }, `${name}/turned`)
    const scale = builder.floats(`${name}/scale`, [], Float32Array.of(depth ** -0.5))
    const scaled = builder.node('Mul', [turned, scale], {}, `${name}/scaled`)
    const probabilities = builder.node('Softmax', [scaled], { axis: -1 }, `${name}/Softmax`)
    const mixed = builder.node('MatMul', [probabilities, gathered], {}, `${name}/mixed`)
    const back = builder.node('Transpose', [mixed], { perm: [0, 1, 4, 3, 2] }, `${name}/back`)
    const flat = builder.node(
      'Reshape',
      [back, builder.integers([-1, channels * places, rows, columns])],
      {},
      `${name}/flat`,
    )
    // What a transposed convolution leaves out at the far edges.
    const missing = (extent: number, count: number) => extent - ((count - 1) * stride + kernel - 2 * padding)
    const shape = { ...window, pads, output_padding: [missing(height, rows), missing(width, columns)] }
    context.setChannelsFirst(
      node.outputs[0]!,
      builder.node('ConvTranspose', [flat, picks], shape, `${name}/OutlookAttention`),
    )
  },
}
