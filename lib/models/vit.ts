import { AutoprogError, expected } from '../errors.js'
import type { Graph } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import {
  attention,
  classAttention,
  dropToken,
  linear,
  patches,
  resizePosition,
  selectToken,
  tokens,
} from '../ops/index.js'
import type { ImageConfiguration } from './layers.js'
import {
  checkImages,
  checkIntegers,
  checkMlpRatio,
  countParameters,
  fanIn,
  forData,
  forwardCost,
  linearParameters,
  normalizationOf,
  normParameters,
  specify,
  truncatedNormal,
} from './layers.js'
import type { BuildOptions, Initialization, Model, Outputs, ParameterSpecification } from './model.js'
import { residualStream } from './residual-stream.js'

/** A Vision Transformer of any size; DeiT's (Touvron et al., 2021) are special cases. */
export interface VitConfiguration extends ImageConfiguration {
  patchSize: number
  embedDim: number
  depth: number
  heads: number
  /** Hidden width of the MLP over embedDim; 4 unless given. */
  mlpRatio?: number
  /**
   * First weights of linear layers: truncated normal with deviation 0.02, as timm has it (the default), or with Glorot's
   * deviation sqrt(2 / (in + out)), which narrow networks learn faster from.
   */
  initialization?: 'timm' | 'glorot'
}

const epsilon = 1e-6

function check(configuration: VitConfiguration): void {
  const { imageSize, patchSize, embedDim, depth, heads, classes, mlpRatio = 4, initialization = 'timm' } = configuration
  checkIntegers('vit', { imageSize, patchSize, embedDim, depth, heads, classes })
  if (initialization !== 'timm' && initialization !== 'glorot')
    throw new AutoprogError('CONFIG', expected('timm or glorot', 'initialization of the vit', initialization))
  if (imageSize % patchSize !== 0)
    throw new AutoprogError(
      'CONFIG',
      expected(`a multiple of the patch size ${patchSize}`, 'imageSize of the vit', imageSize),
    )
  if (embedDim % heads !== 0)
    throw new AutoprogError('CONFIG', expected(`a multiple of the ${heads} heads`, 'embedDim of the vit', embedDim))
  checkMlpRatio('vit', mlpRatio, [embedDim])
  checkImages('vit', configuration)
}

/** Biases start at zero and the patch kernel as PyTorch's convolutions do, in timm's initialisation and ours. */
function listParameters(configuration: VitConfiguration): ParameterSpecification[] {
  const { imageSize, patchSize, embedDim, depth, mlpRatio = 4, channels = 3, classes } = configuration
  const { initialization = 'timm' } = configuration
  const glorot = (out: number, into: number): Initialization => ({
    kind: 'truncatedNormal',
    deviation: Math.sqrt(2 / (into + out)),
  })
  const dense = (name: string, out: number, into: number, block?: number) =>
    linearParameters(name, out, into, {
      block,
      initialization: initialization === 'glorot' ? glorot(out, into) : truncatedNormal,
    })
  const hidden = embedDim * mlpRatio
  const fan = fanIn(channels * patchSize ** 2)
  const block = (index: number) => [
    ...normParameters(`blocks.${index}.norm1`, embedDim, index),
    ...dense(`blocks.${index}.attn.qkv`, 3 * embedDim, embedDim, index),
    ...dense(`blocks.${index}.attn.proj`, embedDim, embedDim, index),
    ...normParameters(`blocks.${index}.norm2`, embedDim, index),
    ...dense(`blocks.${index}.mlp.fc1`, hidden, embedDim, index),
    ...dense(`blocks.${index}.mlp.fc2`, embedDim, hidden, index),
  ]
  return [
    specify('cls_token', [1, 1, embedDim], { kind: 'normal', deviation: 1e-6 }),
    specify('pos_embed', [1, 1 + (imageSize / patchSize) ** 2, embedDim], truncatedNormal),
    specify('patch_embed.proj.weight', [embedDim, channels, patchSize, patchSize], fan),
    specify('patch_embed.proj.bias', [embedDim], fan),
    ...Array.from({ length: depth }, (_, index) => block(index)).flat(),
    ...normParameters('norm', embedDim),
    ...dense('head', classes, embedDim),
  ]
}

/** Images to tokens with their positions: (B, H, W, C) -> (B, N + 1, D). */
function embed(graph: Graph, { images, parameter }: BuildOptions, { imageSize, patchSize }: VitConfiguration): Tensor {
  const rows = patches(graph, images, patchSize) // (B, N, C patch patch)
  const embedded = linear(graph, rows, parameter('patch_embed.proj.weight'), parameter('patch_embed.proj.bias'))
  const position = resizePosition(graph, parameter('pos_embed'), imageSize / patchSize, images.shape[1]! / patchSize, 1)
  return tokens(graph, embedded, parameter('cls_token'), position)
}

function build(graph: Graph, options: BuildOptions, configuration: VitConfiguration): Outputs {
  const { parameter, layers, positions = false, everyToken = positions } = options
  const { embedDim, heads } = configuration
  const dense = (x: Tensor, name: string) => linear(graph, x, parameter(`${name}.weight`), parameter(`${name}.bias`))
  const stream = residualStream(graph, embed(graph, options, configuration), options, epsilon) // (B, N, D); later (B, 1, D)
  for (const index of layers) {
    const block = `blocks.${index}`
    let y = stream.norm(`${block}.norm1`)
    if (index === layers.at(-1) && !everyToken) {
      const part = (kind: string, rows: readonly [number, number]) => parameter(`${block}.attn.qkv.${kind}`, rows)
      const queries = [0, embedDim] as const
      const rest = [embedDim, 3 * embedDim] as const
      const q = linear(graph, selectToken(graph, y), part('weight', queries), part('bias', queries))
      y = classAttention(graph, q, linear(graph, y, part('weight', rest), part('bias', rest)), heads)
      stream.replace((all) => selectToken(graph, all))
    } else {
      y = attention(graph, dense(y, `${block}.attn.qkv`), heads)
    }
    stream.add(dense(y, `${block}.attn.proj`), 2 * index)
    stream.add(stream.mlp(`${block}.`), 2 * index + 1)
  }
  const y = stream.norm('norm')
  const features = y.shape[1] === 1 ? y : selectToken(graph, y)
  const logits = dense(features, 'head')
  return { logits, features, ...(positions && { tokenLogits: dense(dropToken(graph, y), 'head') }) }
}

export function createVit(name: string, configuration: VitConfiguration): Model {
  check(configuration)
  const { imageSize, patchSize, depth, channels = 3, classes } = configuration
  const withBlocks = ([other]: readonly number[]) => createVit(name, { ...configuration, depth: other! })
  const model: Model = {
    name,
    classes,
    channels,
    imageSize,
    resolutionStep: patchSize,
    // The paper rounds 224-pixel images of 16-pixel patches to multiples of 32; others to whole patches.
    growthMultiple: imageSize === 224 && patchSize === 16 ? 32 : patchSize,
    kinds: 'layers',
    blocks: [depth],
    depth,
    branches: 2,
    tokenSize: undefined,
    batchNorm: false,
    ...normalizationOf(configuration),
    parameters: listParameters(configuration),
    blockPrefix: (index) => `blocks.${index}.`,
    build: (graph, options) => build(graph, options, configuration),
    withBlocks,
    withData: (data) => createVit(name, forData(configuration, data)),
    flops: ({ blocks = [depth], resolution = imageSize } = {}) => forwardCost(withBlocks(blocks), resolution),
    parameterCount: (blocks = [depth]) => countParameters(withBlocks(blocks)),
  }
  return model
}
