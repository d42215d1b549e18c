/** Vision Outlookers (Yuan et al., 2021) as timm has them: outlook attention on fine tokens, then transformers on coarse ones. */
import { AutoprogError, expected } from '../errors.js'
import type { Graph } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import {
  addPosition,
  addTokenMax,
  attention,
  averagePool,
  classAttention,
  convolution,
  layerNorm,
  linear,
  mixTokens,
  outlookAttention,
  prependToken,
  repeatImages,
  reshape,
  resizePosition,
} from '../ops/index.js'
import type { ImageConfiguration } from './layers.js'
import {
  batchNormParameters,
  checkImages,
  checkIntegers,
  checkMlpRatio,
  countParameters,
  fanIn,
  forData,
  forwardCost,
  linearParameters,
  normalizationOf,
  normalizeBatch,
  normParameters,
  specify,
  truncatedNormal,
} from './layers.js'
import type { BuildOptions, Model, Outputs, ParameterSpecification } from './model.js'
import type { ResidualStream } from './residual-stream.js'
import { residualStream } from './residual-stream.js'

export interface VoloConfiguration extends ImageConfiguration {
  /** Outlookers, then the transformers of every further stage. */
  layers: readonly number[]
  /** Width of each stage; those of all transformers are equal. */
  embedDims: readonly number[]
  heads: readonly number[]
  /** Pixels on a side of a fine token; a coarse one has twice as many. 8 unless given. */
  patchSize?: number
  /** Channels of the first convolutions; 64 unless given. */
  stemDim?: number
  /** Hidden width of the MLPs over the width; 3 unless given. */
  mlpRatio?: number
}

const epsilon = 1e-5
/** Fine tokens on a side of a coarse one. */
const pooling = 2
/** Blocks of class attention after the network. */
const classBlocks = 2
const outlook = { kernel: 3, stride: 2, padding: 1 }
/** Share of the best token's logits in an evaluation's. */
const tokenShare = 0.5

interface Numbers extends Required<Omit<VoloConfiguration, 'mean' | 'deviation'>> {
  readonly fine: number
  readonly fineHeads: number
  readonly coarse: number
  readonly coarseHeads: number
}

function numbersOf(configuration: VoloConfiguration): Numbers {
  const { embedDims, heads } = configuration
  return {
    ...{ patchSize: 8, stemDim: 64, mlpRatio: 3, channels: 3 },
    ...configuration,
    ...{ fine: embedDims[0]!, fineHeads: heads[0]!, coarse: embedDims[1]!, coarseHeads: heads[1]! },
  }
}

function check(configuration: VoloConfiguration): void {
  const { layers, embedDims, heads } = configuration
  checkIntegers('volo', { layers, embedDims, heads })
  if (layers.length < 2 || embedDims.length !== layers.length || heads.length !== layers.length)
    throw new AutoprogError(
      'CONFIG',
      expected('as many embedDims and heads as layers, two or more', 'the volo', { layers, embedDims, heads }),
    )
  const uneven = [embedDims, heads].some((list) => list.slice(1).some((value) => value !== list[1]))
  if (uneven)
    throw new AutoprogError(
      'CONFIG',
      expected('transformers of one width and as many heads', 'the volo', { embedDims, heads }),
    )
  const { imageSize, classes, patchSize, stemDim, mlpRatio } = numbersOf(configuration)
  checkIntegers('volo', { imageSize, classes, patchSize, stemDim })
  if (patchSize % 2 !== 0)
    throw new AutoprogError('CONFIG', expected('an even number', 'patchSize of the volo', patchSize))
  if (imageSize % (pooling * patchSize) !== 0)
    throw new AutoprogError(
      'CONFIG',
      expected(`a multiple of ${pooling * patchSize}, two patches`, 'imageSize of the volo', imageSize),
    )
  for (const [stage, width] of embedDims.entries())
    if (width % heads[stage]! !== 0)
      throw new AutoprogError(
        'CONFIG',
        expected(`multiples of the heads ${heads.join(', ')}`, 'embedDims of the volo', embedDims),
      )
  checkMlpRatio('volo', mlpRatio, embedDims)
  checkImages('volo', configuration)
}

/** A block's place in timm's list of stages, of which the second holds the down-sampling between the two kinds. */
interface Place {
  readonly prefix: string
  readonly width: number
}

/**
 * Where each block lies. Networks with other numbers of transformers than the configuration fill its stages from the
 * input on; what is left over goes to the last.
 */
function placesOf({ layers, fine, coarse }: Numbers, [outlookers, transformers]: readonly [number, number]): Place[] {
  const stages = layers.slice(1)
  const places: Place[] = Array.from({ length: outlookers }, (_, index) => ({
    prefix: `network.0.${index}.`,
    width: fine,
  }))
  let left = transformers
  for (const [stage, count] of stages.entries()) {
    const here = stage === stages.length - 1 ? left : Math.min(left, count)
    for (let index = 0; index < here; index++) places.push({ prefix: `network.${stage + 2}.${index}.`, width: coarse })
    left -= here
  }
  return places
}

function listParameters(numbers: Numbers, blocks: readonly [number, number]): ParameterSpecification[] {
  const { imageSize, patchSize, channels, classes, stemDim, mlpRatio, fine, fineHeads, coarse } = numbers
  const kernel = (name: string, out: number, into: number, side: number) =>
    specify(name, [out, into, side, side], fanIn(into * side ** 2))
  const biased = (name: string, out: number, into: number, side: number) => [
    kernel(`${name}.weight`, out, into, side),
    specify(`${name}.bias`, [out], fanIn(into * side ** 2)),
  ]
  const stem = [0, 3, 6].flatMap((index) => [
    index === 0
      ? kernel('patch_embed.conv.0.weight', stemDim, channels, 7)
      : kernel(`patch_embed.conv.${index}.weight`, stemDim, stemDim, 3),
    ...batchNormParameters(`patch_embed.conv.${index + 1}`, stemDim),
  ])
  const norm = (name: string, width: number, block?: number) => normParameters(name, width, block)
  const mlp = (prefix: string, width: number, block?: number) => [
    ...norm(`${prefix}norm2`, width, block),
    ...linearParameters(`${prefix}mlp.fc1`, width * mlpRatio, width, { block }),
    ...linearParameters(`${prefix}mlp.fc2`, width, width * mlpRatio, { block }),
  ]
  const all = placesOf(numbers, blocks).flatMap(({ prefix, width }, block) => [
    ...norm(`${prefix}norm1`, width, block),
    ...(block < blocks[0]
      ? [
          ...linearParameters(`${prefix}attn.v`, width, width, { block, biased: false }),
          ...linearParameters(`${prefix}attn.attn`, fineHeads * outlook.kernel ** 4, width, { block }),
        ]
      : linearParameters(`${prefix}attn.qkv`, 3 * width, width, { block, biased: false })),
    ...linearParameters(`${prefix}attn.proj`, width, width, { block }),
    ...mlp(prefix, width, block),
  ])
  const post = Array.from({ length: classBlocks }, (_, index) => `post_network.${index}.`).flatMap((prefix) => [
    ...norm(`${prefix}norm1`, coarse),
    ...linearParameters(`${prefix}attn.kv`, 2 * coarse, coarse, { biased: false }),
    ...linearParameters(`${prefix}attn.q`, coarse, coarse, { biased: false }),
    ...linearParameters(`${prefix}attn.proj`, coarse, coarse),
    ...mlp(prefix, coarse),
  ])
  const grid = imageSize / (pooling * patchSize)
  return [
    specify('cls_token', [1, 1, coarse], truncatedNormal),
    specify('pos_embed', [1, grid, grid, coarse], truncatedNormal),
    ...stem,
    ...biased('patch_embed.proj', fine, stemDim, patchSize / 2),
    ...all,
    ...biased('network.1.proj', coarse, fine, pooling),
    ...post,
    ...norm('norm', coarse),
    ...linearParameters('head', classes, coarse),
    ...linearParameters('aux_head', classes, coarse),
  ]
}

/** The forward pass, piece by piece, over one graph. */
function assemble(graph: Graph, options: BuildOptions, numbers: Numbers, blocks: readonly [number, number]) {
  const { parameter } = options
  const { fineHeads, coarseHeads } = numbers
  const dense = (x: Tensor, name: string, biased = true) =>
    linear(graph, x, parameter(`${name}.weight`), biased ? parameter(`${name}.bias`) : undefined)

  const stream = (start: Tensor) => residualStream(graph, start, options, epsilon)

  /** Convolutions with batch norm: images -> (B, H / patch, W / patch, fine). */
  const embed = (images: Tensor): Tensor => {
    let x = images
    for (const index of [0, 3, 6]) {
      const kernel = parameter(`patch_embed.conv.${index}.weight`)
      x = convolution(graph, x, kernel, index === 0 ? { stride: 2, padding: 3 } : { stride: 1, padding: 1 })
      x = normalizeBatch(graph, x, `patch_embed.conv.${index + 1}`, options, { relu: true })
    }
    return project(x, 'patch_embed.proj', numbers.patchSize / 2)
  }

  const project = (x: Tensor, name: string, stride: number) =>
    convolution(graph, x, parameter(`${name}.weight`), { stride, padding: 0 }, parameter(`${name}.bias`))

  const places = placesOf(numbers, blocks)
  const attend = (y: Tensor, prefix: string, isOutlooker: boolean): Tensor => {
    if (!isOutlooker) return attention(graph, dense(y, `${prefix}attn.qkv`, false), coarseHeads)
    const values = dense(y, `${prefix}attn.v`, false)
    const scores = dense(averagePool(graph, y, outlook.stride), `${prefix}attn.attn`)
    return outlookAttention(graph, values, scores, { heads: fineHeads, ...outlook })
  }
  const runBlocks = (x: Tensor, indices: readonly number[]): ResidualStream => {
    const tokens = stream(x)
    for (const index of indices) {
      const { prefix } = places[index]!
      const y = attend(tokens.norm(`${prefix}norm1`), prefix, index < blocks[0])
      tokens.add(dense(y, `${prefix}attn.proj`), 2 * index)
      tokens.add(tokens.mlp(prefix), 2 * index + 1)
    }
    return tokens
  }
  return { dense, stream, embed, project, runBlocks }
}

function build(graph: Graph, options: BuildOptions, numbers: Numbers, blocks: readonly [number, number]): Outputs {
  const { parameter, training, mixBox, layers } = options
  const { dense, stream, embed, project, runBlocks } = assemble(graph, options, numbers, blocks)
  const fine = embed(options.images) // (B, H / patch, W / patch, D)
  const mixed = mixBox ? mixTokens(graph, fine, mixBox, pooling) : fine
  const outlooked = runBlocks(
    mixed,
    layers.filter((index) => index < blocks[0]),
  )
  const map = project(outlooked.sum(), 'network.1.proj', pooling) // (B, h, w, D)
  const [batch, height, width, channels] = map.shape as [number, number, number, number]
  const coarse = reshape(graph, map, [batch, height * width, channels])
  const grid = numbers.imageSize / (pooling * numbers.patchSize)
  const position = resizePosition(graph, parameter('pos_embed'), grid, height, 0)
  const tokens = runBlocks(
    addPosition(graph, coarse, position), // (B, N, D)
    layers.filter((index) => index >= blocks[0]),
  )

  // The other tokens stay as they are while the class token looks at them: only their norms differ.
  const first = tokens.norm('post_network.0.norm1')
  const rest = tokens.sum()
  const norm = (name: string) => layerNorm(graph, rest, parameter(`${name}.weight`), parameter(`${name}.bias`), epsilon)
  const classToken = stream(repeatImages(graph, parameter('cls_token'), rest.shape[0]!)) // (B, 1, D)
  for (let index = 0; index < classBlocks; index++) {
    const prefix = `post_network.${index}.`
    const y = classToken.norm(`${prefix}norm1`)
    const joined = prependToken(graph, index === 0 ? first : norm(`${prefix}norm1`), y)
    const [q, kv] = [dense(y, `${prefix}attn.q`, false), dense(joined, `${prefix}attn.kv`, false)]
    classToken.add(dense(classAttention(graph, q, kv, numbers.coarseHeads), `${prefix}attn.proj`))
    classToken.add(classToken.mlp(prefix))
  }
  const features = classToken.norm('norm') // (B, 1, D)
  const logits = dense(features, 'head') // (B, 1, classes)
  const tokenLogits = dense(norm('norm'), 'aux_head') // (B, N, classes)
  if (training === undefined)
    return { logits: addTokenMax(graph, logits, tokenLogits, tokenShare), features, tokenLogits }
  return { logits, features, tokenLogits: mixBox ? mixTokens(graph, tokenLogits, mixBox, 1) : tokenLogits }
}

/** `blocks`: outlookers and transformers, where they are not the configuration's own. */
export function createVolo(name: string, configuration: VoloConfiguration, blocks?: readonly number[]): Model {
  check(configuration)
  const numbers = numbersOf(configuration)
  const { imageSize, channels, classes, layers, patchSize } = numbers
  const [outlookers, transformers] = blocks ?? [layers[0]!, layers.slice(1).reduce((sum, count) => sum + count)]
  checkIntegers('volo', { outlookers: outlookers!, transformers: transformers! })
  const counts = [outlookers!, transformers!] as const
  const places = placesOf(numbers, counts)
  const withBlocks = (other: readonly number[]) => createVolo(name, configuration, other)
  return {
    name,
    classes,
    channels,
    imageSize,
    resolutionStep: pooling * patchSize,
    growthMultiple: imageSize >= 128 ? 32 : pooling * patchSize,
    kinds: 'outlookers',
    blocks: counts,
    depth: places.length,
    branches: 2,
    tokenSize: pooling * patchSize,
    batchNorm: true,
    ...normalizationOf(configuration),
    parameters: listParameters(numbers, counts),
    blockPrefix: (index) => places[index]!.prefix,
    build: (graph, options) => build(graph, options, numbers, counts),
    withBlocks,
    withData: (data) => createVolo(name, forData(configuration, data), blocks),
    flops: ({ blocks: other = counts, resolution = imageSize } = {}) => forwardCost(withBlocks(other), resolution),
    parameterCount: (other = counts) => countParameters(withBlocks(other)),
  }
}
