/** What a recipe may say: one schema, whose error messages are the "what" of `expected(what, subject, received)`. */
import { z } from 'zod'
import { resolutionChoices } from '../growth/space.js'
import { precisions } from '../session/request.js'

export const scheduleKinds = ['original', 'prog', 'progstack', 'autoprog', 'supernet', 'fixed'] as const
export const growthOperators = ['mogrow', 'interpolation', 'stacking', 'rand-init'] as const

// `abort` makes a refused number refuse its whole union, so that "auto or …" words the error.
const number = (what: string, accepts: (value: number) => boolean) =>
  z.number({ error: what }).refine(accepts, { error: what, abort: true })
const integer = (what: string, minimum: number) =>
  number(what, (value) => Number.isSafeInteger(value) && value >= minimum)
const count = () => integer('a positive integer', 1)
const countUpTo = (most: number) =>
  number(`a positive integer up to ${most}`, (value) => Number.isSafeInteger(value) && value >= 1 && value <= most)
const natural = () => integer('an integer of at least 0', 0)
const positive = () => number('a positive number', (value) => value > 0)
const notNegative = () => number('a number of at least 0', (value) => value >= 0)
const belowOne = () => number('a number of at least 0 and below 1', (value) => value >= 0 && value < 1)
const ratio = () => number('a number above 0 and at most 1', (value) => value > 0 && value <= 1)
const probability = () => number('a number from 0 to 1', (value) => value >= 0 && value <= 1)
const magnitude = () => number('a number from 0 to 10', (value) => value >= 0 && value <= 10)
const boolean = () => z.boolean({ error: 'true or false' })
const oneOf = <const T extends readonly string[]>(values: T) => z.enum(values, { error: `one of ${values.join(', ')}` })
const text = (what: string) => z.string({ error: what }).min(1, { error: what })
const autoOr = <T extends z.ZodType>(what: string, schema: T) =>
  z.union([z.literal('auto'), schema], { error: `auto or ${what}` })
const nullOr = <T extends z.ZodType>(what: string, schema: T) =>
  z.union([z.null(), schema], { error: `null or ${what}` })

/** A mapping without other keys. The message of an unknown key lists the known ones, for `config.ts` to choose from. */
const section = <T extends z.core.$ZodShape>(shape: T) =>
  z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? Object.keys(shape).join(', ') : 'a mapping'),
  })

const pair = (what: string, item: z.ZodNumber) => z.tuple([item, item], { error: what })

const counts = () => z.array(count(), { error: 'a list of positive integers' })

const images = {
  imageSize: count(),
  classes: count().optional(),
}
const imageChannels = () => z.union([z.literal(1), z.literal(3)], { error: '1 or 3' }).optional()

/** Networks spelt out; sizes in pixels. What is left out, `createModel` fills in. */
const visionTransformer = section({
  kind: z.literal('vit', { error: 'vit' }),
  ...images,
  patchSize: count(),
  embedDim: count(),
  depth: count(),
  heads: count(),
  mlpRatio: positive().optional(),
  channels: imageChannels(),
  initialization: oneOf(['timm', 'glorot']).optional(),
})

const visionOutlooker = section({
  kind: z.literal('volo', { error: 'volo' }),
  ...images,
  layers: counts(),
  embedDims: counts(),
  heads: counts(),
  patchSize: count().optional(),
  stemDim: count().optional(),
  mlpRatio: positive().optional(),
  channels: imageChannels(),
})

const residualNetwork = section({
  kind: z.literal('resnet', { error: 'resnet' }),
  ...images,
  block: oneOf(['basic', 'bottleneck']),
  layers: counts(),
  channels: counts().optional(),
  imageChannels: imageChannels(),
})

const network = z.discriminatedUnion('kind', [visionTransformer, visionOutlooker, residualNetwork], {
  error: 'a mapping with kind: vit, volo or resnet and its numbers',
})

const mostStages = 1000
const evenInteger = 'an even integer of at least 2'

const schedule = section({
  kind: oneOf(scheduleKinds).default('autoprog'),
  stages: countUpTo(mostStages).optional(),
  ratio: ratio().default(0.4),
  lengths: z
    .array(positive(), { error: 'null or a list of positive numbers, one a stage' })
    .max(mostStages, { error: `a list of at most ${mostStages} positive numbers`, abort: true })
    .nullable()
    .default(null),
  subnetworks: z
    .array(section({ l: ratio(), n: ratio() }), { error: 'null or a list of { l, n }, one a stage' })
    .min(1, { error: 'a list of at least one { l, n }' })
    .max(mostStages, { error: `a list of at most ${mostStages} { l, n }`, abort: true })
    .nullable()
    .default(null),
  // `auto` is the scheme's own: progstack stacks, the others take MoGrow.
  operator: oneOf(['auto', ...growthOperators]).default('auto'),
  source: oneOf(['all', 'new']).default('all'),
  moments: oneOf(['grow', 'restart']).default('grow'),
  rewarm: natural().default(0),
})

export const configSchema = section({
  data: text('a dataset name, or the path of a folder or tar file,'),
  // `auto` chooses one for the data.
  model: z.union([text('a model name'), network], {
    error: 'auto, a model name or a mapping like { kind: vit, imageSize, patchSize, embedDim, depth, heads }',
  }),
  // Share of each class's training images kept for choosing the best average of the weights; the test images do so where 0.
  validation: belowOne().default(0),
  device: z
    .string({ error: 'auto, cpu, cuda or cuda:N' })
    .regex(/^(auto|cpu|cuda(:\d+)?|cuda-emulated)$/, { error: 'auto, cpu, cuda or cuda:N' })
    .default('auto'),
  threads: autoOr('a positive integer', count()).default('auto'),
  // Threads on which images are decoded and transformed.
  workers: autoOr('a positive integer', count()).default('auto'),
  precision: oneOf(precisions).default('fp32'),
  // Whether a GPU may round the factors of fp32's products to TF32.
  tf32: boolean().default(false),
  // Dynamic loss scaling; only fp16 uses it.
  lossScale: section({
    initial: positive().default(2 ** 16),
    interval: count().default(2000),
    growth: number('a number of at least 1', (value) => value >= 1).default(2),
    backoff: number('a number above 0 and below 1', (value) => value > 0 && value < 1).default(0.5),
  }).prefault({}),
  seed: natural().default(0),
  // Nothing depends on a clock: micro-batches follow a rule, and a search takes its candidates' times from their multiply-adds.
  deterministic: boolean().default(false),
  epochs: count().default(20),
  // `auto` chooses one by the number of training images.
  batch: autoOr(
    evenInteger,
    number(evenInteger, (value) => Number.isSafeInteger(value) && value >= 2 && value % 2 === 0),
  ).default(128),
  microBatch: autoOr('a positive integer', count()).default('auto'),
  // A fixed schedule has as many stages as it has sub-networks; the others have the paper's four.
  schedule: schedule.prefault({}).transform((value) => ({
    ...value,
    stages: value.stages ?? (value.kind === 'fixed' ? (value.subnetworks?.length ?? 1) : 4),
  })),
  search: section({
    epochs: autoOr('a positive number', positive()).default('auto'),
    batches: count().default(50),
    time: oneOf(['median', 'once', 'flops']).default('median'),
    // What it decides about the resolution: anything, only whether the first is larger than need be, or nothing.
    resolution: oneOf(resolutionChoices).default('free'),
  }).prefault({}),
  optimizer: section({
    learningRate: positive().default(1e-3),
    // The batch that the learning rate is meant for: it is scaled with the batch in proportion; not scaled where null.
    referenceBatch: nullOr('a positive integer', count()).default(null),
    weightDecay: notNegative().default(0.05),
    betas: pair('two numbers of at least 0 and below 1', belowOne()).default([0.9, 0.999]),
    epsilon: positive().default(1e-8),
    clip: nullOr('a positive number', positive()).default(null),
  }).prefault({}),
  learningRate: section({
    minimum: notNegative().default(1e-5),
    warmupStart: notNegative().default(1e-6),
    // Five, or a quarter of fewer epochs than twenty, unless given.
    warmupEpochs: notNegative().optional(),
    // Epochs at the minimum, after those of the cosine.
    cooldownEpochs: natural().default(0),
    per: oneOf(['step', 'epoch']).default('step'),
  }).prefault({}),
  ema: section({
    decays: z
      .array(belowOne(), { error: 'a list of numbers of at least 0 and below 1' })
      .min(1, { error: 'a list of at least one number' })
      .default([0.998, 0.9986, 0.999, 0.9996]),
  }).prefault({}),
  // How training images are made. With `crop: auto` photos give a random part, resized, and small squares are shifted.
  augmentation: section({
    crop: oneOf(['auto', 'resized', 'pad']).default('auto'),
    scale: pair('two numbers above 0 and at most 1', ratio()).default([0.08, 1]),
    aspect: pair('two positive numbers', positive()).default([3 / 4, 4 / 3]),
    pad: natural().default(2),
    flip: boolean().default(true),
    filter: oneOf(['bicubic', 'bilinear']).default('bicubic'),
    colorJitter: notNegative().default(0),
    // Decode JPEGs at their full size also where an image of less than half of it is asked for.
    exact: boolean().default(false),
    randAugment: nullOr(
      'a mapping of magnitude, deviation and layers',
      section({
        magnitude: magnitude().default(9),
        deviation: notNegative().default(0.5),
        layers: countUpTo(100).default(2),
      }),
    ).default(null),
    // Times that an image comes in a row, each time augmented anew; an epoch then sees a share of the images.
    repeats: count().default(1),
  }).prefault({}),
  regularization: section({
    labelSmoothing: belowOne().default(0.1),
    stochasticDepth: belowOne().default(0.1),
    // Probability of random erasing.
    erasing: probability().default(0),
    // Parameters of the Beta distributions that mixup and CutMix draw from; 0 for none.
    mixup: notNegative().default(0),
    cutmix: notNegative().default(0),
    mixProbability: probability().default(1),
    // Probability of CutMix where both are on.
    mixSwitch: probability().default(0.5),
    // Ranges from the first stage to the last: table I's for VOLO-D0 or D1, or one's own.
    adaptive: z
      .union(
        [
          z.null(),
          z.enum(['d0', 'd1']),
          section({
            magnitude: pair('two numbers from 0 to 10', magnitude()).optional(),
            erasing: pair('two numbers from 0 to 1', probability()).optional(),
            stochasticDepth: pair('two numbers of at least 0 and below 1', belowOne()).optional(),
          }),
        ],
        { error: 'null, d0, d1 or a mapping of ranges' },
      )
      .default(null),
  }).prefault({}),
  // Token labelling, of networks with a head for tokens.
  tokenLabels: nullOr(
    'a mapping of maps, mixToken, classWeight and denseWeight',
    section({
      // A file of `autoprog annotate`, or a folder of published maps; where null every token has its image's class.
      maps: nullOr('the path of label maps', text('the path of label maps')).default(null),
      mixToken: boolean().default(true),
      // Weights of the two losses.
      classWeight: positive().default(1),
      denseWeight: positive().default(0.5),
    }),
  ).default(null),
  evaluation: section({
    every: natural().default(1),
    // Whether the moving averages are evaluated each time, or once at the end.
    averages: oneOf(['always', 'end']).default('always'),
    resolution: nullOr('a positive integer', count()).default(null),
    // Share of the shorter side that the central crop takes: 0.875 of photos, all of small squares where auto.
    crop: autoOr('a number above 0 and at most 1', ratio()).default('auto'),
    batch: count().default(500),
  }).prefault({}),
  checkpoint: section({ every: count().default(1), keep: count().default(2) }).prefault({}),
}).transform(({ learningRate, ...config }) => {
  const { warmupEpochs = Math.min(5, config.epochs / 4) } = learningRate
  return { ...config, learningRate: { ...learningRate, warmupEpochs } }
})

/** A recipe with every default filled in. */
export type Config = z.output<typeof configSchema>
/** What a user may write: only `data` and `model` are without a default. */
export type ConfigInput = z.input<typeof configSchema>
/** A recipe whose batch has been chosen. */
export type Batched = Config & { batch: number }
export type Schedule = Config['schedule']
