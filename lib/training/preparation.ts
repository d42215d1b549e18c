/** How a run prepares its images: what the recipe says, settled for its data and model. */
import type { Split } from '../data/dataset.js'
import type { Augmentation, Evaluation } from '../data/transform.js'
import type { Model } from '../models/model.js'
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
