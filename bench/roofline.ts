/**
 * The least time of a training step on a GPU, kernel by kernel: each needs its floating-point operations at the peak rate
 * and its bytes, every operand once, at the memory's full speed, whichever takes longer. What a step runs is read off the
 * compiled program.
 *
 *   node --import tsx bench/roofline.ts [--model deit_small_patch16_224] [--batch 256] [--precision bf16] [--gpu h200]
 *                                       [--resolution 224] [--out FILE]
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { AutoprogError, expected } from '../lib/errors.js'
import { layoutOf } from '../lib/models/parameters.js'
import { createModel } from '../lib/models/registry.js'
import type { ProgramDescription } from '../lib/native.js'
import { table } from '../lib/report/table.js'
import { buildProgram } from '../lib/session/programs.js'
import type { Precision } from '../lib/session/request.js'
import { precisions } from '../lib/session/request.js'

/** Peak rates as the makers state them, without sparsity: products in 16 bits and in f32, operations and bytes a second. */
export const gpus = {
  a100: { low: 312e12, full: 19.5e12, bandwidth: 2.04e12 },
  rtx4090: { low: 165e12, full: 82.6e12, bandwidth: 1.008e12 },
  h100: { low: 989e12, full: 67e12, bandwidth: 3.35e12 },
  h200: { low: 989e12, full: 67e12, bandwidth: 4.8e12 },
} as const

interface Kernel {
  readonly name: string
  readonly flops: number
  readonly bytes: number
}

type Tensor = ProgramDescription['tensors'][number]
const elementBytes = { f32: 4, i32: 4, u8: 1, bf16: 2, f16: 2 } as const
const sizeOf = ({ shape }: Tensor) => shape.reduce((product, extent) => product * extent, 1)
const bytesOf = (tensor: Tensor) => sizeOf(tensor) * elementBytes[tensor.type]
const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0)

/** An op's kernels by its operands. An op without an entry is an error, so that nothing is left out in silence. */
type Kernels = (
  op: string,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  attributes: ProgramDescription['nodes'][number]['attributes'],
) => Kernel[]

/** One kernel that moves every operand once. */
const moves = (op: string, inputs: readonly Tensor[], outputs: readonly Tensor[]): Kernel[] => [
  { name: op, flops: 0, bytes: sum([...inputs, ...outputs].map(bytesOf)) },
]
/** The same, and its partial sums added up by a second one, whose memory is little. */
const movesAndSums = (op: string, inputs: readonly Tensor[], outputs: readonly Tensor[]): Kernel[] => [
  ...moves(op, inputs, outputs),
  { name: `${op} sums`, flops: 0, bytes: 0 },
]

const linearKernels: Kernels = (op, inputs, outputs) => {
  const [x, weight, bias] = inputs
  const h = outputs[0]!
  const flops = 2 * (sizeOf(x!) / x!.shape.at(-1)!) * sizeOf(weight!)
  const product = { name: `${op} product`, flops, bytes: sum([x!, weight!, ...(bias ? [bias] : []), h].map(bytesOf)) }
  return op === 'linearGelu'
    ? [product, { name: 'linearGelu activation', flops: 0, bytes: sum([h, outputs[1]!].map(bytesOf)) }]
    : [product]
}

/**
 * A convolution with the output y (or its gradient) as products of patches of `patchBytes` an element, in slices of images.
 * Where an output sees one pixel, the input is its own patch.
 */
function convolutionSlices(y: Tensor, weight: Tensor, stride: number, patchBytes: number) {
  const kernel = weight.shape[3]!
  const pointwise = kernel === 1 && stride === 1
  const positions = sizeOf(y) / y.shape.at(-1)!
  const depth = kernel === 1 ? weight.shape[1]! : Math.ceil(sizeOf(weight) / weight.shape[0]! / 8) * 8
  const patches = pointwise ? 0 : positions * depth * patchBytes
  const slices = Math.max(1, Math.ceil(patches / 2 ** 28))
  const flops = 2 * positions * sizeOf(weight)
  /** `perSlice` are bytes that every slice moves; `shared` ones, and operations, are divided among the slices. */
  const each = (name: string, perSlice: number, shared: number, flops = 0): Kernel[] =>
    Array.from({ length: slices }, () => ({ name, flops: flops / slices, bytes: perSlice + shared / slices }))
  const reordered = (name: string): Kernel[] => (kernel === 1 ? [] : [{ name, flops: 0, bytes: 2 * bytesOf(weight) }])
  return { flops, pointwise, patches, each, reordered }
}

const convolutionKernels: Kernels = (op, inputs, outputs, { stride }) => {
  const [x, weight] = inputs as [Tensor, Tensor]
  const y = outputs[0]!
  const { flops, pointwise, patches, each, reordered } = convolutionSlices(
    y,
    weight,
    Number(stride),
    elementBytes[x.type],
  )
  return [
    ...reordered(`${op} weights`),
    ...(pointwise ? [] : each(`${op} patches`, 0, bytesOf(x) + patches)),
    ...each(`${op} product`, bytesOf(weight), (pointwise ? bytesOf(x) : patches) + bytesOf(y), flops),
  ]
}

// Patches that overlap are summed up in f32.
const convolutionGradientInputKernels: Kernels = (op, inputs, outputs, { stride }) => {
  const [dy, weight] = inputs as [Tensor, Tensor]
  const dx = outputs[0]!
  const overlap = Number(stride) < weight.shape[3]!
  const bytes = overlap ? 4 : elementBytes[dx.type]
  const { flops, pointwise, patches, each, reordered } = convolutionSlices(dy, weight, Number(stride), bytes)
  return [
    ...reordered(`${op} weights`),
    ...each(`${op} product`, bytesOf(weight), bytesOf(dy) + (pointwise ? bytesOf(dx) : patches), flops),
    ...(pointwise ? [] : each(`${op} patches`, 0, patches + bytesOf(dx))),
  ]
}

// The gradient of a weight accumulates, and so do the sums of slices.
const convolutionGradientWeightKernels: Kernels = (op, inputs, outputs, { stride }) => {
  const [dy, x] = inputs as [Tensor, Tensor]
  const [dweight, dbias] = outputs as [Tensor, Tensor?]
  const { flops, pointwise, patches, each, reordered } = convolutionSlices(
    dy,
    dweight,
    Number(stride),
    elementBytes[x.type],
  )
  return [
    ...(pointwise ? [] : each(`${op} patches`, 0, bytesOf(x) + patches)),
    ...each(`${op} product`, 2 * bytesOf(dweight), bytesOf(dy) + (pointwise ? bytesOf(x) : patches), flops),
    ...reordered(`${op} weights`),
    ...(dbias ? [{ name: `${op} bias`, flops: 0, bytes: bytesOf(dy) + 2 * bytesOf(dbias) }] : []),
  ]
}

/** Batch norm reads x twice: its channels' statistics are needed before the first value can be written. */
const batchNormKernels: Kernels = (op, inputs, outputs) => [
  { name: `${op} moments`, flops: 0, bytes: bytesOf(inputs[0]!) },
  { name: `${op} statistics`, flops: 0, bytes: 0 },
  ...moves(op, inputs, outputs),
]

// With a residual the first kernel writes its gradient, and the second reads that instead of dy.
const batchNormGradientKernels: Kernels = (op, inputs, outputs) => {
  const [dy, x, , , , y] = inputs as Tensor[]
  const [dx, , , dresidual] = outputs as Tensor[]
  const masked = y && dresidual ? [y, dresidual] : []
  return [
    { name: `${op} sums`, flops: 0, bytes: sum([dy!, x!, ...masked].map(bytesOf)) },
    { name: `${op} constants`, flops: 0, bytes: 0 },
    { name: op, flops: 0, bytes: sum([dy!, x!, dx!].map(bytesOf)) },
  ]
}

/** (queries, keys, width) of an attention op, from q (or qkv), kv and y. */
const attentionSizes = (kv: Tensor, y: Tensor) => {
  const [batch, queries, width] = y.shape as [number, number, number]
  return { products: 2 * batch * queries * kv.shape[1]! * width, y }
}

const kernelsOf: Readonly<Record<string, Kernels>> = {
  ...{ images: moves, eraseImages: moves, mixImages: moves, mixTargets: moves, mixTokens: moves },
  ...{ patches: moves, tokens: moves, selectToken: moves, selectTokenGradient: moves, add: moves },
  ...{ cast: moves, oneHot: moves, counts: moves, zero: moves, keepScale: moves, keepBranch: moves, lossScale: moves },
  ...{ layerNorm: moves, residualNorm: moves, geluGradient: moves, resizePosition: moves, patchesGradient: moves },
  ...{ resizePositionGradient: moves, addPosition: moves, sumImages: moves, prependToken: moves, dropToken: moves },
  ...{ addTokenMax: moves, addTokenMaxGradient: moves, repeatImages: moves, reshape: moves, alignLabels: moves },
  ...{ maxPool: moves, maxPoolGradient: moves, averagePool: moves, averagePoolGradient: moves },
  ...{ globalAveragePool: moves, globalAveragePoolGradient: moves, batchNormInference: moves },
  crossEntropy: movesAndSums,
  gradientNorm: movesAndSums,
  tokensGradient: movesAndSums,
  layerNormGradient: (op, inputs, outputs) => [
    ...movesAndSums(op, inputs, outputs),
    { name: `${op} sums`, flops: 0, bytes: 0 },
  ],
  residualNormGradient: (op, inputs, outputs) => [
    ...movesAndSums(op, inputs, outputs),
    { name: `${op} sums`, flops: 0, bytes: 0 },
  ],
  convolution: convolutionKernels,
  convolutionGradientInput: convolutionGradientInputKernels,
  convolutionGradientWeight: convolutionGradientWeightKernels,
  batchNorm: batchNormKernels,
  batchNormGradient: batchNormGradientKernels,
  linear: linearKernels,
  linearGelu: linearKernels,
  linearGradientInput: (op, [dy, weight], outputs) => [
    {
      name: `${op} product`,
      flops: 2 * (sizeOf(dy!) / dy!.shape.at(-1)!) * sizeOf(weight!),
      bytes: sum([dy!, weight!, outputs[0]!].map(bytesOf)),
    },
  ],
  // The gradient of a weight is read and written: it accumulates.
  linearGradientWeight: (op, [dy, x], outputs) => [
    {
      name: `${op} product`,
      flops: 2 * (sizeOf(x!) / x!.shape.at(-1)!) * sizeOf(outputs[0]!),
      bytes: sum([dy!, x!, outputs[0]!, outputs[0]!].map(bytesOf)),
    },
    ...(outputs.length > 1 ? [{ name: `${op} bias`, flops: 0, bytes: 3 * bytesOf(outputs[1]!) }] : []),
  ],
  // Forward two products of queries and keys; backward five, of which two are computed twice (scores and slopes).
  attention: (op, inputs, outputs) => attentionKernels(op, inputs, outputs, inputs.at(-1)!, outputs[0]!),
  classAttention: (op, inputs, outputs) => attentionKernels(op, inputs, outputs, inputs.at(-1)!, outputs[0]!),
  attentionGradient: (op, inputs, outputs) => attentionGradientKernels(op, inputs, outputs),
  classAttentionGradient: (op, inputs, outputs) => attentionGradientKernels(op, inputs, outputs),
  // Each probability weighs the values of a head once; backward once more for either gradient.
  outlookAttention: (op, [values, scores], [y, probabilities], { heads }) => [
    { name: `${op} probabilities`, flops: 0, bytes: sum([scores!, probabilities!].map(bytesOf)) },
    {
      name: op,
      flops: 2 * sizeOf(scores!) * (values!.shape[3]! / Number(heads)),
      bytes: sum([values!, probabilities!, y!].map(bytesOf)),
    },
  ],
  outlookAttentionGradient: (op, [dy, values, probabilities], [dvalues, dscores], { heads }) => {
    const flops = 2 * sizeOf(probabilities!) * (values!.shape[3]! / Number(heads))
    return [
      { name: `${op} of values`, flops, bytes: sum([dy!, probabilities!, dvalues!].map(bytesOf)) },
      { name: `${op} of scores`, flops, bytes: sum([dy!, values!, probabilities!, dscores!].map(bytesOf)) },
    ]
  },
  // Weights, moments and averages are read and written, gradients read; the first kernel prepares a few numbers.
  adamw: (op, inputs, outputs) => [
    { name: `${op} constants`, flops: 0, bytes: 0 },
    { name: op, flops: 0, bytes: sum(inputs.map(bytesOf)) + 2 * sum(outputs.map(bytesOf)) },
  ],
}

function attentionKernels(
  op: string,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  kv: Tensor,
  y: Tensor,
): Kernel[] {
  return [{ name: op, flops: 2 * attentionSizes(kv, y).products, bytes: sum([...inputs, ...outputs].map(bytesOf)) }]
}

function attentionGradientKernels(op: string, inputs: readonly Tensor[], outputs: readonly Tensor[]): Kernel[] {
  const one = attentionSizes(inputs.at(-1)!, inputs[1]!).products
  const read = sum(inputs.map(bytesOf))
  return [
    { name: `${op} of queries`, flops: 3 * one, bytes: read + bytesOf(outputs[0]!) / 3 },
    { name: `${op} of keys`, flops: 4 * one, bytes: read + sum(outputs.map(bytesOf)) * (2 / 3) },
  ]
}

/** The program of a training step, as a session compiles it. */
export function stepProgram(name: string, batch: number, precision: Precision, resolution: number): ProgramDescription {
  const model = createModel(name)
  return buildProgram(
    {
      ...{ kind: 'step', batch, microBatch: batch, resolution, targets: 'labels', smoothing: 0.1, keep: 'none' },
      images: { type: 'u8', height: resolution, width: resolution, pad: 0 },
      ...{ layers: Array.from({ length: model.depth }, (_, index) => index), weights: 'weights', imageGradient: false },
      ...{ erase: false, mix: 'none', tokenTargets: 'none', mode: 'train', positions: false, features: false },
    },
    model,
    layoutOf(model),
    {
      ...{ precision, classWeight: 1, denseWeight: 0.5 },
      averages: [0.998, 0.9986, 0.999, 0.9996],
      lossScale: { growth: 2, backoff: 0.5, interval: 2000 },
    },
  )
}

export function roofline(program: ProgramDescription, gpu: keyof typeof gpus, precision: Precision) {
  const { low, full, bandwidth } = gpus[gpu]
  const rows = new Map<string, { launches: number; flops: number; bytes: number; seconds: number }>()
  for (const { op, inputs, outputs, attributes } of program.nodes) {
    const kernels = kernelsOf[op]
    if (kernels === undefined) throw new Error(`The roofline does not know the op ${op}`)
    const tensors = (indices: readonly number[]) => indices.map((index) => program.tensors[index]!)
    for (const { name, flops, bytes } of kernels(op, tensors(inputs), tensors(outputs), attributes)) {
      const row = rows.get(name) ?? { launches: 0, flops: 0, bytes: 0, seconds: 0 }
      row.launches++
      row.flops += flops
      row.bytes += bytes
      row.seconds += Math.max(flops / (precision === 'fp32' ? full : low), bytes / bandwidth)
      rows.set(name, row)
    }
  }
  const kernels = [...rows].map(([name, row]) => ({ name, ...row })).sort((a, b) => b.seconds - a.seconds)
  const total = (key: 'launches' | 'flops' | 'bytes' | 'seconds') => sum(kernels.map((kernel) => kernel[key]))
  return {
    kernels,
    launches: total('launches'),
    flops: total('flops'),
    bytes: total('bytes'),
    seconds: total('seconds'),
    imagesPerSecond: program.batch / total('seconds'),
  }
}

function main(): void {
  const { values } = parseArgs({
    options: {
      model: { type: 'string', default: 'deit_small_patch16_224' },
      batch: { type: 'string', default: '256' },
      precision: { type: 'string', default: 'bf16' },
      resolution: { type: 'string', default: '224' },
      gpu: { type: 'string', default: 'h200' },
      out: { type: 'string' },
    },
  })
  const precision = values.precision as Precision
  const gpu = values.gpu as keyof typeof gpus
  if (!precisions.includes(precision))
    throw new AutoprogError('CONFIG', expected(`one of ${precisions.join(', ')}`, '--precision', precision))
  if (!(gpu in gpus))
    throw new AutoprogError('CONFIG', expected(`one of ${Object.keys(gpus).join(', ')}`, '--gpu', gpu))
  const batch = Number(values.batch)
  const result = roofline(stepProgram(values.model, batch, precision, Number(values.resolution)), gpu, precision)
  const row = (name: string, launches: number, flops: number, bytes: number, seconds: number) => [
    ...[name, String(launches), (flops / 1e9).toFixed(0), (bytes / 1e6).toFixed(0), (seconds * 1e6).toFixed(0)],
    `${((100 * seconds) / result.seconds).toFixed(1)} %`,
  ]
  console.log(
    `${values.model}, batch ${batch}, ${precision}, ${values.resolution} px on ${gpu}: the least a step can take`,
  )
  console.log(
    table(
      ['kernel', 'launches', 'GFLOP', 'MB', 'µs', 'share'],
      [
        ...result.kernels.map((kernel) =>
          row(kernel.name, kernel.launches, kernel.flops, kernel.bytes, kernel.seconds),
        ),
        row('sum', result.launches, result.flops, result.bytes, result.seconds),
      ],
    ),
  )
  console.log(`at most ${Math.round(result.imagesPerSecond).toLocaleString('en')} images/s`)
  if (values.out !== undefined)
    writeFileSync(values.out, `${JSON.stringify({ ...values, batch, ...result }, null, 2)}\n`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
