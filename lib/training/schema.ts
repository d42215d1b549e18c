/** What a recipe may say: one schema, whose error messages are the "what" of `expected(what, subject, received)`. */
import { z } from 'zod'
import { precisions } from './programs.js'

export const scheduleKinds = ['original', 'prog', 'progstack', 'autoprog', 'supernet', 'fixed'] as const
export const growthOperators = ['mogrow', 'interpolation', 'stacking', 'rand-init'] as const

// `abort` makes a refused number refuse its whole union, so that "auto or …" words the error.
const number = (what: string, accepts: (value: number) => boolean) =>
  z.number({ error: what }).refine(accepts, { error: what, abort: true })
const integer = (what: string, minimum: number) =>
  number(what, (value) => Number.isSafeInteger(value) && value >= minimum)
const count = () => integer('a positive integer', 1)
const natural = () => integer('an integer of at least 0', 0)
const positive = () => number('a positive number', (value) => value > 0)
const notNegative = () => number('a number of at least 0', (value) => value >= 0)
const belowOne = () => number('a number of at least 0 and below 1', (value) => value >= 0 && value < 1)
const ratio = () => number('a number above 0 and at most 1', (value) => value > 0 && value <= 1)
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

/** A vision transformer spelt out; sizes in pixels. What is left out, `createModel` fills in. */
const visionTransformer = section({
  kind: z.literal('vit', { error: 'vit' }),
  imageSize: count(),
  patchSize: count(),
  embedDim: count(),
  depth: count(),
  heads: count(),
  mlpRatio: positive().optional(),
  channels: z.union([z.literal(1), z.literal(3)], { error: '1 or 3' }).optional(),
  classes: count().optional(),
  initialization: oneOf(['timm', 'glorot']).optional(),
})

const schedule = section({
  kind: oneOf(scheduleKinds).default('autoprog'),
  stages: count().optional(),
  ratio: ratio().default(0.4),
  lengths: z.array(positive(), { error: 'null or a list of positive numbers, one a stage' }).nullable().default(null),
  subnetworks: z
    .array(section({ l: ratio(), n: ratio() }), { error: 'null or a list of { l, n }, one a stage' })
    .min(1, { error: 'a list of at least one { l, n }' })
    .nullable()
    .default(null),
  operator: oneOf(growthOperators).default('mogrow'),
  source: oneOf(['all', 'new']).default('all'),
  moments: oneOf(['grow', 'restart']).default('grow'),
  rewarm: natural().default(0),
})

export const configSchema = section({
  data: text('a dataset name, or the path of a folder or tar file,'),
  model: z.union([text('a model name'), visionTransformer], {
    error: 'a model name or a mapping like { kind: vit, imageSize, patchSize, embedDim, depth, heads }',
  }),
  device: z
    .string({ error: 'auto, cpu, cuda or cuda:N' })
    .regex(/^(auto|cpu|cuda(:\d+)?|cuda-emulated)$/, { error: 'auto, cpu, cuda or cuda:N' })
    .default('auto'),
  threads: autoOr('a positive integer', count()).default('auto'),
  precision: oneOf(precisions).default('fp32'),
  // Whether a GPU may round the factors of fp32's products to TF32.
  tf32: z.boolean({ error: 'true or false' }).default(false),
  // Dynamic loss scaling; only fp16 uses it.
  lossScale: section({
    initial: positive().default(2 ** 16),
    interval: count().default(2000),
    growth: number('a number of at least 1', (value) => value >= 1).default(2),
    backoff: number('a number above 0 and below 1', (value) => value > 0 && value < 1).default(0.5),
  }).prefault({}),
  seed: natural().default(0),
  epochs: count().default(20),
  batch: number(
    'an even integer of at least 2',
    (value) => Number.isSafeInteger(value) && value >= 2 && value % 2 === 0,
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
    // Whether a later stage may stay at the resolution of the one before.
    stay: z.boolean({ error: 'true or false' }).default(true),
  }).prefault({}),
  optimizer: section({
    learningRate: positive().default(1e-3),
    weightDecay: notNegative().default(0.05),
    betas: pair('two numbers of at least 0 and below 1', belowOne()).default([0.9, 0.999]),
    epsilon: positive().default(1e-8),
    clip: nullOr('a positive number', positive()).default(null),
  }).prefault({}),
  learningRate: section({
    minimum: notNegative().default(1e-5),
    warmupStart: notNegative().default(1e-6),
    warmupEpochs: notNegative().default(5),
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
  regularization: section({
    labelSmoothing: belowOne().default(0.1),
    stochasticDepth: belowOne().default(0.1),
    flip: z.boolean({ error: 'true or false' }).default(true),
    pad: natural().default(2),
    adaptive: section({ stochasticDepth: pair('two numbers of at least 0 and below 1', belowOne()) })
      .nullable()
      .default(null),
  }).prefault({}),
  evaluation: section({
    every: natural().default(1),
    // Whether the moving averages are evaluated each time, or once at the end.
    averages: oneOf(['always', 'end']).default('always'),
    resolution: nullOr('a positive integer', count()).default(null),
    batch: count().default(500),
  }).prefault({}),
  checkpoint: section({ every: count().default(1), keep: count().default(1) }).prefault({}),
})

/** A recipe with every default filled in. */
export type Config = z.output<typeof configSchema>
/** What a user may write: only `data` and `model` are without a default. */
export type ConfigInput = z.input<typeof configSchema>
export type Schedule = Config['schedule']
