/** Residual networks (He et al., 2016) as timm has them: stride in the 3 x 3 convolution of a bottleneck. */
import { AutoprogError, expected } from '../errors.js'
import type { Graph } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { convolution, globalAveragePool, linear, maxPool } from '../ops/index.js'
import type { ImageConfiguration } from './layers.js'
import {
  batchNormParameters,
  checkImages,
  checkIntegers,
  countParameters,
  fanIn,
  forData,
  forwardCost,
  normalizationOf,
  normalizeBatch,
  specify,
} from './layers.js'
import type { BuildOptions, Model, Outputs, ParameterSpecification } from './model.js'

export interface ResnetConfiguration extends Omit<ImageConfiguration, 'channels'> {
  /** Of the images; 3 unless given. */
  imageChannels?: 1 | 3
  /** Two 3 x 3 convolutions, or 1 x 1, 3 x 3 and 1 x 1 with four times as many channels at the end. */
  block: 'basic' | 'bottleneck'
  /** Blocks of each stage. */
  layers: readonly number[]
  /** Width of each stage; [64, 128, 256, 512] unless given. */
  channels?: readonly number[]
}

/** Channels after the first convolution. */
const stemChannels = 64

const widthsOf = ({ channels = [64, 128, 256, 512] }: ResnetConfiguration) => channels

const expansionOf = ({ block }: ResnetConfiguration) => (block === 'bottleneck' ? 4 : 1)

const imagesOf = ({ imageChannels, channels: _widths, ...rest }: ResnetConfiguration): ImageConfiguration => ({
  ...rest,
  ...(imageChannels && { channels: imageChannels }),
})

/** One convolution of a block, its norm and what comes in and goes out. */
interface Layer {
  readonly name: string
  readonly into: number
  readonly out: number
  readonly kernel: number
  readonly stride: number
}

interface Block {
  readonly prefix: string
  readonly layers: readonly Layer[]
  /** Where the shortcut is no identity. */
  readonly shortcut: Layer | undefined
}

/** All blocks from the input on. */
function blocksOf(configuration: ResnetConfiguration): Block[] {
  const widths = widthsOf(configuration)
  const expansion = expansionOf(configuration)
  let into = stemChannels
  return configuration.layers.flatMap((count, stage) =>
    Array.from({ length: count }, (_, index) => {
      const width = widths[stage]!
      const out = width * expansion
      const stride = stage > 0 && index === 0 ? 2 : 1
      const layer = (number: number, from: number, to: number, kernel: number, step = 1): Layer => ({
        ...{ name: `${number}`, into: from, out: to, kernel, stride: step },
      })
      const block: Block = {
        prefix: `layer${stage + 1}.${index}.`,
        layers:
          expansion === 1
            ? [layer(1, into, out, 3, stride), layer(2, out, out, 3)]
            : [layer(1, into, width, 1), layer(2, width, width, 3, stride), layer(3, width, out, 1)],
        shortcut: stride > 1 || into !== out ? layer(0, into, out, 1, stride) : undefined,
      }
      into = out
      return block
    }),
  )
}

function check(configuration: ResnetConfiguration): void {
  const { imageSize, classes, block, layers } = configuration
  const channels = widthsOf(configuration)
  if (block !== 'basic' && block !== 'bottleneck')
    throw new AutoprogError('CONFIG', expected('basic or bottleneck', 'block of the resnet', block))
  checkIntegers('resnet', { imageSize, classes, layers, channels })
  if (layers.length !== channels.length)
    throw new AutoprogError(
      'CONFIG',
      expected(`${layers.length} widths, one a stage`, 'channels of the resnet', channels),
    )
  checkImages('resnet', imagesOf(configuration))
}

const kernelName = ({ prefix }: Block, { name }: Layer) => `${prefix}conv${name}.weight`
const normName = ({ prefix }: Block, { name }: Layer) => `${prefix}bn${name}`

/** Kernels start as He et al. (2015) have it for ReLU; the last norm of a block at zero, so that a new block is the identity. */
function listParameters(configuration: ResnetConfiguration): ParameterSpecification[] {
  const { imageChannels = 3, classes } = configuration
  const kernel = (name: string, { out, into, kernel: side }: Pick<Layer, 'out' | 'into' | 'kernel'>, block?: number) =>
    specify(name, [out, into, side, side], { kind: 'normal', deviation: Math.sqrt(2 / (out * side ** 2)) }, block)
  const blocks = blocksOf(configuration).flatMap((block, index) => {
    const last = block.layers.at(-1)
    const main = block.layers.flatMap((layer) => [
      kernel(kernelName(block, layer), layer, index),
      ...batchNormParameters(normName(block, layer), layer.out, index, layer === last ? 0 : 1),
    ])
    const { shortcut } = block
    if (shortcut === undefined) return main
    return [
      ...main,
      kernel(`${block.prefix}downsample.0.weight`, shortcut, index),
      ...batchNormParameters(`${block.prefix}downsample.1`, shortcut.out, index),
    ]
  })
  const features = widthsOf(configuration).at(-1)! * expansionOf(configuration)
  return [
    kernel('conv1.weight', { out: stemChannels, into: imageChannels, kernel: 7 }),
    ...batchNormParameters('bn1', stemChannels),
    ...blocks,
    specify('fc.weight', [classes, features], fanIn(features)),
    specify('fc.bias', [classes], fanIn(features)),
  ]
}

function build(graph: Graph, options: BuildOptions, configuration: ResnetConfiguration): Outputs {
  const { images, layers, parameter, positions = false } = options
  const norm = (x: Tensor, name: string, fused: { relu: boolean; residual?: Tensor }) =>
    normalizeBatch(graph, x, name, options, fused)
  const convolve = (x: Tensor, name: string, { kernel, stride }: Pick<Layer, 'kernel' | 'stride'>) =>
    convolution(graph, x, parameter(name), { stride, padding: (kernel - 1) / 2 })

  let x = convolve(images, 'conv1.weight', { kernel: 7, stride: 2 }) // (B, H / 2, W / 2, C)
  x = maxPool(graph, norm(x, 'bn1', { relu: true }), { kernel: 3, stride: 2, padding: 1 })
  const blocks = blocksOf(configuration)
  for (const index of layers) {
    const block = blocks[index]!
    const { prefix, shortcut } = block
    const residual = shortcut
      ? norm(convolve(x, `${prefix}downsample.0.weight`, shortcut), `${prefix}downsample.1`, { relu: false })
      : x
    const last = block.layers.at(-1)
    let y = x
    for (const layer of block.layers) {
      y = convolve(y, kernelName(block, layer), layer)
      y = norm(y, normName(block, layer), layer === last ? { relu: true, residual } : { relu: true })
    }
    x = y
  }
  const classify = (map: Tensor) => linear(graph, map, parameter('fc.weight'), parameter('fc.bias'))
  const features = globalAveragePool(graph, x)
  // (B, h, w, classes): a position after the other
  return { logits: classify(features), features, ...(positions && { tokenLogits: classify(x) }) }
}

/** Throws CONFIG unless the first block of every stage runs: it alone fits between the stages' widths and resolutions. */
function checkLayers(layers: readonly number[], blocks: readonly number[]): void {
  let first = 0
  for (const [stage, count] of blocks.entries()) {
    if (!layers.includes(first))
      throw new AutoprogError('SHAPE', expected(`block ${first}, the first of stage ${stage + 1}`, 'layers', layers), {
        hint: 'The first block of a stage down-samples; it cannot be left out.',
      })
    first += count
  }
}

export function createResnet(name: string, configuration: ResnetConfiguration): Model {
  check(configuration)
  const { imageSize, imageChannels = 3, classes, layers } = configuration
  const blocks = blocksOf(configuration)
  const withBlocks = (other: readonly number[]) => createResnet(name, { ...configuration, layers: other })
  return {
    name,
    classes,
    channels: imageChannels,
    imageSize,
    resolutionStep: 1,
    growthMultiple: imageSize >= 128 ? 32 : 16,
    kinds: 'stages',
    blocks: layers,
    depth: blocks.length,
    branches: 0,
    tokenSize: undefined,
    batchNorm: true,
    ...normalizationOf(imagesOf(configuration)),
    parameters: listParameters(configuration),
    blockPrefix: (index) => blocks[index]!.prefix,
    build: (graph, options) => {
      checkLayers(options.layers, layers)
      return build(graph, options, configuration)
    },
    withBlocks,
    withData: ({ classes: other = classes, channels }) => {
      const { channels: imageChannels, ...images } = forData(imagesOf(configuration), {
        classes: other,
        ...(channels && { channels }),
      })
      return createResnet(name, { ...configuration, ...images, ...(imageChannels && { imageChannels }) })
    },
    flops: ({ blocks: other = layers, resolution = imageSize } = {}) => forwardCost(withBlocks(other), resolution),
    parameterCount: (other = layers) => countParameters(withBlocks(other)),
  }
}
