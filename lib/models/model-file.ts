/**
 * A model is one file: safetensors with the weights under timm's names, whose metadata say all that its use needs besides
 * them, as JSON under the key `autoprog`.
 */
import { z } from 'zod'
import { AutoprogError, describe } from '../errors.js'
import type { Model } from './model.js'
import { createModel, type ModelDescription } from './registry.js'
import type { TensorFile } from './tensor-file.js'
import { readTensors, writeTensors } from './tensor-file.js'
import { matchWeights } from './weights.js'

const count = z.int().min(0)
const share = z.number().min(0).max(1)
const perChannel = z.union([z.tuple([z.number()]), z.tuple([z.number(), z.number(), z.number()])])

const trainedModel = z.object({
  version: z.literal(1),
  /** The network's name, as timm has it where timm knows it. */
  name: z.string().min(1),
  /** As `createModel` takes it, for networks of other data and of all their blocks. */
  network: z.custom<ModelDescription>((value) => typeof value === 'string' || (typeof value === 'object' && !!value)),
  /** Blocks of each kind that these weights are of. */
  blocks: z.array(count).min(1),
  /** Names of the classes in the order of the logits; null where they are not known. */
  classes: z.array(z.string()).min(1).nullable(),
  classCount: count.min(1),
  channels: z.union([z.literal(1), z.literal(3)]),
  /** Of pixels in [0, 1], a channel each. */
  mean: perChannel,
  deviation: perChannel,
  /** Pixels of an image's side. */
  resolution: count.min(1),
  /** Share of the scaled picture's shorter side that the central crop takes, in (0, 1]. */
  crop: share,
  interpolation: z.enum(['bicubic', 'bilinear']),
  precision: z.enum(['fp32', 'bf16', 'fp16']),
  /** The decay of the average that these weights are; null for the weights themselves. */
  average: z.number().nullable(),
  /** Accuracy in [0, 1], on images that were not trained on. */
  evaluated: z
    .object({
      on: z.enum(['validation', 'test']),
      images: count,
      top1: share,
      top5: share,
      loss: z.number().nullable(),
    })
    .nullable(),
  trained: z.object({
    /** Of autoprog. */
    version: z.string(),
    date: z.string(),
    data: z.string(),
    seed: count,
    step: count,
    epoch: count,
  }),
})

/** What a model file says of itself; `model.json` beside it says the same. */
export type TrainedModel = z.output<typeof trainedModel>

export interface ModelFile {
  /** Undefined where the file holds weights alone. */
  readonly description: TrainedModel | undefined
  readonly file: TensorFile
}

const key = 'autoprog'

/** Writes a model file, whole or not at all. `weights` are by the names of the model's parameters. Throws CHECKPOINT. */
export async function writeModel(
  path: string,
  model: Pick<Model, 'parameters'>,
  weights: ReadonlyMap<string, Float32Array>,
  description: TrainedModel,
): Promise<void> {
  const tensors = new Map(model.parameters.map(({ name, shape }) => [name, { shape, values: weights.get(name)! }]))
  // `format` is what readers of such files for PyTorch look for.
  await writeTensors(path, tensors, { format: 'pt', [key]: JSON.stringify(description) })
}

/** Reads a safetensors file and what it says of itself. Throws CHECKPOINT where either is damaged, or of a later version. */
export async function readModel(path: string): Promise<ModelFile> {
  const file = await readTensors(path)
  const text = file.metadata[key]
  return { file, description: text === undefined ? undefined : describedBy(path, text) }
}

/** What `model.json`, or a file's metadata, say. Throws CHECKPOINT. */
export function describedBy(path: string, text: string): TrainedModel {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new AutoprogError('CHECKPOINT', `What ${path} says of its model is not JSON`, { cause })
  }
  const version = (value as { version?: unknown } | null)?.version
  if (typeof version === 'number' && version > 1)
    throw new AutoprogError('CHECKPOINT', `${path} is a model file of version ${version}, and this version reads 1`, {
      hint: 'Use a newer version of autoprog.',
    })
  const parsed = trainedModel.safeParse(value)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    const where = issue!.path.join('.') || 'all of it'
    throw new AutoprogError(
      'CHECKPOINT',
      `What ${path} says of its model makes no sense: ${where} (${issue!.message})`,
      {
        hint: 'The file may be damaged or altered: copy it anew.',
      },
    )
  }
  const { classes, classCount } = parsed.data
  if (classes !== null && classes.length !== classCount)
    throw new AutoprogError('CHECKPOINT', `${path} names ${classes.length} classes of ${classCount}`)
  return parsed.data
}

/** The network that a description is of. Throws CHECKPOINT where no network has those numbers. */
export function describedModel(path: string, { network, blocks, classCount, channels }: TrainedModel): Model {
  try {
    return createModel(network, { classes: classCount, channels }).withBlocks(blocks)
  } catch (cause) {
    const message = `${path} is of a network that cannot be made: ${cause instanceof Error ? cause.message : describe(cause)}`
    throw new AutoprogError('CHECKPOINT', message, { cause })
  }
}

/** The weights of a model file for its network. Throws CHECKPOINT where they do not fit. */
export const describedWeights = (path: string, { file }: ModelFile, model: Model): Map<string, Float32Array> =>
  matchWeights(path, file, model)
