/** How a run prepares its images: what the recipe says, settled for its data and model. */
import type { Split } from '../data/dataset.js'
import type { Augmentation, Evaluation } from '../data/transform.js'
import type { Model } from '../models/model.js'
import type { LoaderFigures } from '../report/events.js'
import { integer, percent } from '../report/format.js'
import type { Config } from './config.js'

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

/** Images prepared at a time: as many as there are threads for it. */
export function workersOf({ workers }: Config): number {
  return workers === 'auto' ? Number(process.env.UV_THREADPOOL_SIZE) || 4 : workers
}

/** Share of an epoch's time spent waiting from which on it is worth saying. */
const worthSaying = 0.05

/** What to do about an epoch that waited for its data; undefined where it hardly did. */
export function bottleneck(figures: LoaderFigures, workers: number, cores: number): string | undefined {
  const { waitShare, decodedPerSecond: decoded, transformedPerSecond: transformed } = figures
  if (waitShare < worthSaying) return undefined
  const speeds = [
    ...(decoded === null ? [] : [`decodes ${integer(decoded)} images a second`]),
    ...(transformed === null ? [] : [`augments ${integer(transformed)}`]),
  ]
  const remedies = [
    ...(workers < cores ? [`raise workers from ${workers} towards the ${cores} cores`] : []),
    ...(decoded === null ? [] : ['pack the data once (autoprog pack), which scales it down and stores it in one file']),
    ...(decoded === null || (transformed !== null && transformed < decoded)
      ? ['augment less (augmentation.randAugment)']
      : []),
  ]
  const thread = speeds.length === 0 ? '' : `: one of ${workers} workers ${speeds.join(' and ')}`
  return `${percent(waitShare)} of the time was spent waiting for data${thread}. To go faster: ${remedies.join(', or ')}`
}
