import { AutoprogError, expected } from '../errors.js'
import { costOf } from '../graph/cost.js'
import type { Graph } from '../graph/graph.js'
import { addTensor, createGraph } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { sizeOf } from '../graph/tensor.js'
import {
  attention,
  classAttention,
  layerNorm,
  linear,
  linearGelu,
  patches,
  residualNorm,
  resizePosition,
  selectToken,
  tokens,
} from '../ops/index.js'
import type { BuildOptions, Initialization, Model, ParameterSpecification } from './model.js'

/** A Vision Transformer of any size; DeiT's (Touvron et al., 2021) are special cases. */
export interface VitConfiguration {
  imageSize: number
  patchSize: number
  embedDim: number
  depth: number
  heads: number
  /** Hidden width of the MLP over embedDim; 4 unless given. */
  mlpRatio?: number
  /** 3 unless given. */
  channels?: 1 | 3
  classes: number
  /**
   * First weights of linear layers: truncated normal with deviation 0.02, as timm has it (the default), or with Glorot's
   * deviation sqrt(2 / (in + out)), which narrow networks learn faster from.
   */
  initialization?: 'timm' | 'glorot'
  mean?: readonly number[]
  deviation?: readonly number[]
}

const epsilon = 1e-6
const imagenet = { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] }

function check(configuration: VitConfiguration): void {
  const integers = ['imageSize', 'patchSize', 'embedDim', 'depth', 'heads', 'classes'] as const
  for (const key of integers)
    if (!Number.isInteger(configuration[key]) || configuration[key] < 1)
      throw new AutoprogError('CONFIG', expected('a positive integer', `${key} of the vit`, configuration[key]))
  const { imageSize, patchSize, embedDim, heads, channels = 3, mlpRatio = 4, initialization = 'timm' } = configuration
  if (initialization !== 'timm' && initialization !== 'glorot')
    throw new AutoprogError('CONFIG', expected('timm or glorot', 'initialization of the vit', initialization))
  if (imageSize % patchSize !== 0)
    throw new AutoprogError(
      'CONFIG',
      expected(`a multiple of the patch size ${patchSize}`, 'imageSize of the vit', imageSize),
    )
  if (embedDim % heads !== 0)
    throw new AutoprogError('CONFIG', expected(`a multiple of the ${heads} heads`, 'embedDim of the vit', embedDim))
  if (channels !== 1 && channels !== 3)
    throw new AutoprogError('CONFIG', expected('1 or 3', 'channels of the vit', channels))
  if (!(mlpRatio > 0) || !Number.isInteger(embedDim * mlpRatio))
    throw new AutoprogError('CONFIG', expected('a ratio that gives a whole width', 'mlpRatio of the vit', mlpRatio))
  for (const key of ['mean', 'deviation'] as const) {
    const values = configuration[key]
    if (
      values !== undefined &&
      (values.length !== channels ||
        values.some((value) => !Number.isFinite(value) || (key === 'deviation' && value <= 0)))
    )
      throw new AutoprogError(
        'CONFIG',
        expected(`${channels} number${channels > 1 ? 's' : ''}`, `${key} of the vit`, values),
      )
  }
}

/** Biases start at zero and the patch kernel as PyTorch's convolutions do, in timm's initialisation and ours. */
function listParameters({
  imageSize,
  patchSize,
  embedDim,
  depth,
  mlpRatio = 4,
  channels = 3,
  classes,
  initialization = 'timm',
}: VitConfiguration): ParameterSpecification[] {
  const truncated: Initialization = { kind: 'truncatedNormal', deviation: 0.02 }
  const linearInitialization = (out: number, into: number): Initialization =>
    initialization === 'glorot' ? { kind: 'truncatedNormal', deviation: Math.sqrt(2 / (into + out)) } : truncated
  const constant = (value: number): Initialization => ({ kind: 'constant', value })
  const specify = (
    name: string,
    shape: number[],
    initialization: Initialization,
    block?: number,
  ): ParameterSpecification => ({
    name,
    shape,
    decayed: shape.length > 1 && name !== 'cls_token' && name !== 'pos_embed',
    block,
    initialization,
  })
  const norm = (name: string, block?: number) => [
    specify(`${name}.weight`, [embedDim], constant(1), block),
    specify(`${name}.bias`, [embedDim], constant(0), block),
  ]
  const dense = (name: string, out: number, into: number, block?: number) => [
    specify(`${name}.weight`, [out, into], linearInitialization(out, into), block),
    specify(`${name}.bias`, [out], constant(0), block),
  ]
  const hidden = embedDim * mlpRatio
  const fan: Initialization = { kind: 'uniform', bound: 1 / Math.sqrt(channels * patchSize ** 2) }
  const block = (index: number) => [
    ...norm(`blocks.${index}.norm1`, index),
    ...dense(`blocks.${index}.attn.qkv`, 3 * embedDim, embedDim, index),
    ...dense(`blocks.${index}.attn.proj`, embedDim, embedDim, index),
    ...norm(`blocks.${index}.norm2`, index),
    ...dense(`blocks.${index}.mlp.fc1`, hidden, embedDim, index),
    ...dense(`blocks.${index}.mlp.fc2`, embedDim, hidden, index),
  ]
  return [
    specify('cls_token', [1, 1, embedDim], { kind: 'normal', deviation: 1e-6 }),
    specify('pos_embed', [1, 1 + (imageSize / patchSize) ** 2, embedDim], truncated),
    specify('patch_embed.proj.weight', [embedDim, channels, patchSize, patchSize], fan),
    specify('patch_embed.proj.bias', [embedDim], fan),
    ...Array.from({ length: depth }, (_, index) => block(index)).flat(),
    ...norm('norm'),
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

function build(graph: Graph, options: BuildOptions, configuration: VitConfiguration): Tensor {
  const { parameter, layers, keep, everyToken = false } = options
  const { embedDim, heads } = configuration
  const dense = (x: Tensor, name: string) => linear(graph, x, parameter(`${name}.weight`), parameter(`${name}.bias`))
  let x = embed(graph, options, configuration) // (B, N, D); later (B, 1, D)
  // A residual branch waits for the norm that follows it, which adds it in the same pass over memory.
  let branch: { value: Tensor; path: number } | undefined
  const norm = (name: string): Tensor => {
    const [gamma, beta] = [parameter(`${name}.weight`), parameter(`${name}.bias`)]
    if (branch === undefined) return layerNorm(graph, x, gamma, beta, epsilon)
    const factor = keep && { scale: keep, path: branch.path }
    const { sum, y } = residualNorm(graph, x, branch.value, gamma, beta, epsilon, factor)
    x = sum
    return y
  }
  for (const index of layers) {
    const block = `blocks.${index}`
    let y = norm(`${block}.norm1`)
    if (index === layers.at(-1) && !everyToken) {
      const part = (kind: string, rows: readonly [number, number]) => parameter(`${block}.attn.qkv.${kind}`, rows)
      const queries = [0, embedDim] as const
      const rest = [embedDim, 3 * embedDim] as const
      const q = linear(graph, selectToken(graph, y), part('weight', queries), part('bias', queries))
      y = classAttention(graph, q, linear(graph, y, part('weight', rest), part('bias', rest)), heads)
      x = selectToken(graph, x)
    } else {
      y = attention(graph, dense(y, `${block}.attn.qkv`), heads)
    }
    branch = { value: dense(y, `${block}.attn.proj`), path: 2 * index }
    y = norm(`${block}.norm2`)
    y = linearGelu(graph, y, parameter(`${block}.mlp.fc1.weight`), parameter(`${block}.mlp.fc1.bias`))
    branch = { value: dense(y, `${block}.mlp.fc2`), path: 2 * index + 1 }
  }
  const y = norm('norm')
  return dense(y.shape[1] === 1 ? y : selectToken(graph, y), 'head')
}

export function createVit(name: string, configuration: VitConfiguration): Model {
  check(configuration)
  const { imageSize, patchSize, depth, channels = 3, classes } = configuration
  const { mean = imagenet.mean.slice(0, channels), deviation = imagenet.deviation.slice(0, channels) } = configuration
  const parameters = listParameters(configuration)
  const model: Model = {
    name,
    classes,
    channels,
    imageSize,
    resolutionStep: patchSize,
    // The paper rounds 224-pixel images of 16-pixel patches to multiples of 32; others to whole patches.
    growthMultiple: imageSize === 224 && patchSize === 16 ? 32 : patchSize,
    depth,
    mean,
    deviation,
    parameters,
    build: (graph, options) => build(graph, options, configuration),
    withDepth: (other) => createVit(name, { ...configuration, depth: other }),
    withData: (data) => {
      const same = data.channels === undefined || data.channels === channels
      return createVit(name, { ...configuration, ...data, ...(same ? {} : { mean: undefined, deviation: undefined }) })
    },
    flops: ({ depth: layers = depth, resolution = imageSize } = {}) => {
      checkResolution(model, resolution)
      const graph = createGraph()
      const images = addTensor(graph, 'images', [1, resolution, resolution, channels])
      const grown = layers > depth ? model.withDepth(layers) : model
      grown.build(graph, {
        images,
        layers: Array.from({ length: layers }, (_, index) => index),
        everyToken: true,
        parameter: (parameter) => {
          const { shape } = grown.parameters.find((candidate) => candidate.name === parameter)!
          return addTensor(graph, parameter, shape, { arena: 'weights', offset: 0 })
        },
      })
      return costOf(graph)
    },
    parameterCount: (layers = depth) =>
      (layers === depth ? model : model.withDepth(layers)).parameters.reduce(
        (sum, { shape }) => sum + sizeOf(shape),
        0,
      ),
  }
  return model
}

/** Throws CONFIG unless the network can run at this resolution. */
export function checkResolution(model: Model, resolution: number): void {
  if (!Number.isInteger(resolution) || resolution < model.resolutionStep || resolution % model.resolutionStep !== 0)
    throw new AutoprogError(
      'CONFIG',
      expected(`a multiple of ${model.resolutionStep} pixels`, `the resolution of ${model.name}`, resolution),
      {
        hint: `The nearest that fits is ${Math.max(1, Math.round(resolution / model.resolutionStep) || 1) * model.resolutionStep}.`,
      },
    )
}
