/** A trained model as an ONNX file: weights inside, any batch. */
import { AutoprogError } from '../../errors.js'
import { addInput, addTensor, createGraph } from '../../graph/graph.js'
import type { Tensor } from '../../graph/tensor.js'
import { sizeOf } from '../../graph/tensor.js'
import type { Model } from '../../models/model.js'
import type { TrainedModel } from '../../models/model-file.js'
import { packageVersion } from '../../package.js'
import { createBuilder } from './builder.js'
import { createContext } from './context.js'
import { converters } from './ops.js'
import { encodeModel, types, type ValueProto } from './schema.js'

export interface OnnxOptions {
  /** Take bytes (B, R, R, C), as images are, and normalise them; otherwise normalised floats (B, C, R, R). */
  readonly preprocessing: boolean
  /** Give probabilities instead of logits. */
  readonly softmax: boolean
}

/** The lowest version that has layer norm, which most runtimes read. */
const opset = 17
const irVersion = 8

/** The bytes of an ONNX model: `pixel_values` (or `images`) -> `logits` (or `probabilities`) (B, classes). */
export function exportOnnx(
  model: Model,
  weights: ReadonlyMap<string, Float32Array>,
  description: TrainedModel,
  { preprocessing, softmax }: OnnxOptions,
): Uint8Array {
  const { resolution, channels, classCount } = description
  const graph = createGraph()
  const batch = 1 // stands for any: shapes are exported without their first axis
  const images = addInput(graph, 'images', [batch, resolution, resolution, channels], 'f32')
  const values = new Map<Tensor, Float32Array>()
  const outputs = model.build(graph, {
    images,
    layers: Array.from({ length: model.depth }, (_, index) => index),
    parameter(name, rows) {
      const { shape } = model.parameters.find((each) => each.name === name)!
      const all = weights.get(name)!
      const size = sizeOf(shape.slice(1))
      const part = rows && all.subarray(rows[0] * size, rows[1] * size)
      const tensor = addTensor(
        graph,
        rows ? `${name}[${rows.join(':')}]` : name,
        rows ? [rows[1] - rows[0], ...shape.slice(1)] : shape,
      )
      values.set(tensor, part ?? all)
      return tensor
    },
  })

  const builder = createBuilder()
  const input = builder.unique(preprocessing ? 'images' : 'pixel_values')
  const context = createContext(builder, input, (tensor) => values.get(tensor))
  if (preprocessing) context.set(images, normalized(builder, input, description))
  else context.setChannelsFirst(images, input)
  const wanted = needed(graph.nodes, outputs.logits)
  for (const node of graph.nodes) {
    if (!wanted.has(node)) continue
    const convert = converters[node.op.name]
    if (convert === undefined) throw new AutoprogError('CONFIG', `The op ${node.op.name} has no form in ONNX`)
    const about = node.inputs.find((each) => values.has(each))?.name.replace(/\.[^.]*$/, '')
    convert(context, node, about ?? node.op.name)
  }
  const name = builder.unique(softmax ? 'probabilities' : 'logits')
  const flat = builder.node(
    'Reshape',
    [context.value(outputs.logits), builder.integers([-1, classCount])],
    {},
    'head/Reshape',
  )
  builder.nodes.push({
    ...{ opType: softmax ? 'Softmax' : 'Identity', name, input: [flat], output: [name], attribute: [] },
  })
  const side = [resolution, resolution]
  return encodeModel({
    irVersion,
    producerName: 'autoprog',
    producerVersion: packageVersion(),
    opsetImport: [{ domain: '', version: opset }],
    metadataProps: [
      { key: 'autoprog', value: JSON.stringify(description) },
      ...(description.classes ? [{ key: 'classes', value: JSON.stringify(description.classes) }] : []),
    ],
    graph: {
      name: description.name,
      node: builder.nodes,
      initializer: builder.initializers,
      input: [
        preprocessing
          ? portOf(input, types.uint8, [...side, channels])
          : portOf(input, types.float, [channels, ...side]),
      ],
      output: [portOf(name, types.float, [classCount])],
    },
  })
}

const portOf = (name: string, elemType: number, rest: readonly number[]): ValueProto => ({
  name,
  type: {
    tensorType: { elemType, shape: { dim: [{ dimParam: 'batch' }, ...rest.map((dimValue) => ({ dimValue }))] } },
  },
})

/** Bytes to floats: (v / 255 - mean) / deviation, as one product and one sum. */
function normalized(
  builder: ReturnType<typeof createBuilder>,
  input: string,
  { mean, deviation, channels }: TrainedModel,
): string {
  const perChannel = (name: string, value: (index: number) => number) =>
    builder.floats(
      name,
      [channels],
      Float32Array.from({ length: channels }, (_, index) => value(index)),
    )
  const floats = builder.node('Cast', [input], { to: types.float }, 'normalize/Cast')
  const scale = perChannel('normalize/scale', (index) => 1 / 255 / deviation[index]!)
  const shift = perChannel('normalize/shift', (index) => -mean[index]! / deviation[index]!)
  const scaled = builder.node('Mul', [floats, scale], {}, 'normalize/Mul')
  return builder.node('Add', [scaled, shift], {}, 'normalize/Add')
}

/** The nodes that an output depends on. */
function needed<N extends { inputs: readonly Tensor[]; outputs: readonly Tensor[] }>(
  nodes: readonly N[],
  output: Tensor,
): Set<N> {
  const wanted = new Set<Tensor>([output])
  const found = new Set<N>()
  for (const node of [...nodes].reverse()) {
    if (!node.outputs.some((each) => wanted.has(each))) continue
    found.add(node)
    for (const input of node.inputs) wanted.add(input)
  }
  return found
}
