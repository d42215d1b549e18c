/** How a run prepares its images: what the recipe says, settled for its data and model. */

import type { Augmentation, Evaluation } from '../data/image/transform.js'
import type { Dataset, Split } from '../data/source/dataset.js'
import type { Model } from '../models/model.js'
import type { Device } from '../native.js'
import type { Batched, Config } from '../recipe/config.js'
import { resolveConfig } from '../recipe/config.js'
import type { LoaderFigures } from '../report/events.js'
import { integer, percent, plural } from '../report/format.js'
import { microBatches } from '../session/micro-batches.js'

/** Squares up to this size are shifted rather than cut: CIFAR's, MNIST's, Tiny ImageNet's. */
const smallSquare = 64

/** What is known of a split's images: the size that all have. */
type Sizes = Pick<Split, 'uniform'>

export const isSmallSquare = ({ uniform }: Sizes) =>
  uniform !== undefined && uniform.width === uniform.height && uniform.width <= smallSquare

export function augmentationOf({ augmentation }: Config, split: Sizes, model: Model): Augmentation {
  const { crop, ...rest } = augmentation
  const [red, green = red, blue = red] = model.mean.map((value) => Math.round(255 * value))
  const fill = [red!, green!, blue!] as const
  return { ...rest, crop: crop === 'auto' ? (isSmallSquare(split) ? 'pad' : 'resized') : crop, fill }
}

export function evaluationOf({ evaluation, augmentation }: Config, split: Sizes): Evaluation {
  const { crop } = evaluation
  return { fraction: crop === 'auto' ? (isSmallSquare(split) ? 1 : 0.875) : crop, filter: augmentation.filter }
}

/** Whether evaluation images are copied as they are, for the device to scale them bilinearly. */
export const isScaledOnDevice = ({ uniform }: Sizes, fraction: number) =>
  uniform !== undefined && uniform.width === uniform.height && fraction === 1

/** A model for images of one's own, by their size and by what will compute it. */
function modelFor({ train, channels }: Dataset, device: Device): { model: Config['model']; why: string; name: string } {
  const network = { kind: 'vit', channels } as const
  if (isSmallSquare(train)) {
    const side = train.uniform!.width
    // Enlarged, so that there is resolution to spare, which a progressive schedule saves on.
    const imageSize = Math.max(32, 8 * Math.round((side <= 40 ? 2 * side : side) / 8))
    const model = { ...network, imageSize, patchSize: 8, embedDim: 64, depth: 6, heads: 2 }
    return { model, name: nameOf(model), why: `${imageSize} px for images of ${side} x ${side}` }
  }
  const small = 'deit_small_patch16_224'
  if (device.kind === 'cuda') return { model: small, name: small, why: '224 px for photos on a GPU' }
  const model = { ...network, imageSize: 96, patchSize: 12, embedDim: 128, depth: 8, heads: 4 }
  return { model, name: nameOf(model), why: '96 px for photos on a processor' }
}

const nameOf = ({ depth }: { depth: number }) => `a vision transformer of ${depth} layers`

/** A batch that is left to us, and of how many batches an epoch then has at least. */
const [usualBatch, batchesPerEpoch] = [64, 8]

/** The recipe with its model settled where that is left to us, and its batch where it is or is more than all images; what was settled, for a human. */
export function settle(config: Config, dataset: Dataset, device: Device): { config: Batched; notices: string[] } {
  const images = dataset.train.length
  const given = config.batch === 'auto' ? usualBatch : config.batch
  const fitting = 2 * Math.max(1, Math.floor(images / batchesPerEpoch / 2))
  const batch = config.batch === 'auto' || given > images ? Math.min(given, fitting) : given
  const chosen = config.model === 'auto' ? modelFor(dataset, device) : undefined
  const told = [
    ...(chosen ? [`${chosen.name}, ${chosen.why}`] : []),
    ...(batch === given ? [] : [`a batch of ${batch} for ${plural(images, 'image')}`]),
  ]
  const model = chosen?.model ?? config.model
  return {
    // Checked again: what goes with a batch or a network is known now.
    config:
      told.length === 0 && batch === config.batch
        ? { ...config, batch }
        : { ...resolveConfig({ ...config, model, batch }), batch },
    notices: told.length === 0 ? [] : [`chose ${told.join(', and ')}`],
  }
}

/** What enlarging the images of a network by name costs, where that is much; its size is the network's own. */
export function enlargementOf({ train }: Pick<Dataset, 'train'>, { name, imageSize }: Model): string[] {
  const side = train.uniform && Math.max(train.uniform.width, train.uniform.height)
  if (side === undefined || imageSize < 3 * side) return []
  return [
    `images of ${train.uniform!.width} x ${train.uniform!.height} are enlarged to the ${imageSize} px of ${name}, ${Math.round((imageSize / side) ** 2)} times as many pixels: a network that is spelt out, as in recipes/cifar10-resnet.yaml, has a size of one's own`,
  ]
}

/** Images computed together where that is not measured; batch norm takes its statistics over them: enough to be steady, few enough to fit. */
const imagesTogether = { cpu: { batchNorm: 32, other: 16 }, cuda: { batchNorm: 256, other: 256 } }

/** The recipe with its micro-batch settled, where it is more than a matter of speed: with batch norm, or to be deterministic. */
export function settleMicroBatch(
  config: Batched,
  model: Model,
  device: Device,
): { config: Batched; notices: string[] } {
  const { batch, deterministic } = config
  if (config.microBatch !== 'auto' || !(model.batchNorm || deterministic)) return { config, notices: [] }
  const most = imagesTogether[device.kind === 'cpu' ? 'cpu' : 'cuda'][model.batchNorm ? 'batchNorm' : 'other']
  const microBatch = microBatches(batch).findLast((size) => size <= most) ?? batch
  const notices =
    microBatch === batch || !model.batchNorm
      ? []
      : [`batch norm takes its statistics over ${microBatch} images at a time`]
  return { config: { ...config, microBatch }, notices }
}

/** The recipe with nothing left to a clock where it is to be deterministic: a search compares multiply-adds, not times. */
export function settleTimes(config: Batched): Batched {
  return config.deterministic ? { ...config, search: { ...config.search, time: 'flops' } } : config
}

/** Images prepared at a time: as many as there are threads for it. */
export function workersOf({ workers }: Config): number {
  return workers === 'auto' ? Number(process.env.UV_THREADPOOL_SIZE) || 4 : workers
}

/** Share of an epoch's time spent waiting from which on it is worth saying. */
const worthSaying = 0.05

/** What to do about an epoch that waited for its data; undefined where it hardly did. */
export function bottleneck(
  figures: LoaderFigures & { trainSeconds: number },
  workers: number,
  cores: number,
): string | undefined {
  const { waitShare, decodedPerSecond: decoded, transformedPerSecond: transformed, trainSeconds } = figures
  // A short epoch waits for its first batches, whatever the loader.
  if (waitShare < worthSaying || waitShare * trainSeconds < 1) return undefined
  const speeds = [
    ...(decoded === null ? [] : [`decodes ${integer(decoded)} images a second`]),
    ...(transformed === null ? [] : [`augments ${integer(transformed)}${decoded === null ? ' images a second' : ''}`]),
  ]
  const remedies = [
    ...(workers < cores ? [`raise workers from ${workers} towards the ${cores} cores`] : []),
    ...(decoded === null ? [] : ['pack the data once (autoprog pack), which scales it down and stores it in one file']),
    ...(decoded === null || (transformed !== null && transformed < decoded)
      ? ['augment less (augmentation.randAugment)']
      : []),
  ]
  const thread =
    speeds.length === 0
      ? ''
      : `: ${workers === 1 ? 'the one worker' : `one of ${workers} workers`} ${speeds.join(' and ')}`
  return `${percent(waitShare)} of the time was spent waiting for data${thread}. To go faster: ${remedies.join(', or ')}`
}
