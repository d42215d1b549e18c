import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { AutoprogError } from '../../lib/errors.js'
import {
  configToYaml,
  loadConfig,
  type Override,
  resolveConfig,
  stageCount,
  withScheme,
} from '../../lib/recipe/config.js'
import { checkError } from '../error.js'
import { test } from '../serial.js'

const minimal = { data: 'fashion-mnist', model: 'vit_fashion' }
const folder = mkdtempSync(join(tmpdir(), 'autoprog-config-'))

/** `minimal` with the value at a dotted path. */
function recipe(path: string, value: unknown): object {
  const nested = path.split('.').reduceRight<unknown>((inner, key) => ({ [key]: inner }), value)
  return { ...minimal, ...(nested as object) }
}

function failure(t: ExecutionContext, run: () => unknown): AutoprogError {
  return t.throws(run, { instanceOf: AutoprogError, code: 'CONFIG' })!
}

function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

test('defaults are filled in', (t) => {
  const config = resolveConfig(minimal)
  t.is(config.epochs, 20)
  t.is(config.schedule.stages, 4)
  t.is(config.schedule.kind, 'autoprog')
  t.deepEqual(config.optimizer.betas, [0.9, 0.999])
  t.deepEqual(config.ema.decays, [0.998, 0.9986, 0.999, 0.9996])
})

const positiveInteger = [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '4', null, [1], true]
const naturalNumber = [-1, 0.5, '0', 2 ** 60]
const positiveNumber = [0, -1, '1', Number.POSITIVE_INFINITY]
const notNegative = [-1e-9, '0', Number.NaN]
const belowOne = [1, -0.1, '0.5', Number.NaN]
const probabilities = [-0.1, 1.1, '0.5', true]
const ratio = [0, 1.01, -0.4, '0.4']

/** Every option that is no choice among words, with values that it must refuse. */
const refused: [path: string, what: RegExp, values: unknown[]][] = [
  ['validation', /at least 0 and below 1/, belowOne],
  ['deterministic', /true or false/, ['yes', 1, null]],
  ['threads', /auto or a positive integer/, [0, 1.5, -2, 'four']],
  ['tf32', /true or false/, ['yes', 1, null]],
  ['lossScale.initial', /positive number/, positiveNumber],
  ['lossScale.interval', /positive integer/, positiveInteger],
  ['lossScale.growth', /at least 1/, [0.5, '2', Number.NaN]],
  ['lossScale.backoff', /above 0 and below 1/, [0, 1, '0.5']],
  ['seed', /integer of at least 0/, naturalNumber],
  ['epochs', /positive integer/, positiveInteger],
  ['batch', /even integer of at least 2/, [0, 1, 127, 2.5, '128', null]],
  ['microBatch', /auto or a positive integer/, [0, -4, 1.5, 'all', {}]],
  ['schedule.stages', /positive integer up to 1000/, [...positiveInteger, 1001, 1e6, 1e9, 2 ** 53 - 2]],
  ['schedule.ratio', /above 0 and at most 1/, ratio],
  ['schedule.lengths', /list of (at most 1000 )?positive numbers/, [4, 'long', {}, Array(1e6).fill(1)]],
  [
    'schedule.lengths',
    /positive number for schedule\.lengths\.1/,
    [
      [1, 0, 1, 1],
      [1, '2', 1, 1],
    ],
  ],
  ['schedule.subnetworks', /list of at least one/, [[]]],
  ['schedule.subnetworks', /list of at most 1000/, [Array(1e6).fill({ l: 1, n: 1 })]],
  [
    'schedule.subnetworks',
    /at most 1 for schedule\.subnetworks\.0\.n/,
    [[{ l: 1, n: 0 }], [{ l: 1, n: 1.5 }], [{ l: 1 }]],
  ],
  ['schedule.rewarm', /integer of at least 0/, naturalNumber],
  ['search.epochs', /auto or a positive number/, [0, -1, 'some']],
  ['search.batches', /positive integer/, positiveInteger],
  ['optimizer.learningRate', /positive number/, positiveNumber],
  ['optimizer.weightDecay', /number of at least 0/, notNegative],
  ['optimizer.betas', /two numbers/, [0.9, [0.9], [0.9, 0.99, 0.999]]],
  [
    'optimizer.betas',
    /below 1 for optimizer\.betas\.1/,
    [
      [0.9, 1],
      [0.9, '0.9'],
    ],
  ],
  ['optimizer.epsilon', /positive number/, positiveNumber],
  ['optimizer.clip', /null or a positive number/, [0, -1, 'off']],
  ['learningRate.minimum', /number of at least 0/, notNegative],
  ['learningRate.warmupStart', /number of at least 0/, notNegative],
  ['learningRate.warmupEpochs', /number of at least 0/, notNegative],
  ['learningRate.cooldownEpochs', /integer of at least 0/, naturalNumber],
  ['ema.decays', /list of/, [0.99, []]],
  ['ema.decays', /below 1 for ema\.decays\.0/, [[1], [-0.1], ['0.9']]],
  ['workers', /auto or a positive integer/, positiveInteger],
  ['optimizer.referenceBatch', /null or a positive integer/, [0, 1.5, 'batch']],
  ['augmentation.scale', /two numbers above 0/, [0.5, [0.5]]],
  ['augmentation.scale', /at most 1/, [[0, 1]]],
  ['augmentation.aspect', /two positive numbers/, [1, [1]]],
  ['augmentation.pad', /integer of at least 0/, naturalNumber],
  ['augmentation.colorJitter', /number of at least 0/, notNegative],
  ['augmentation.randAugment', /null or a mapping/, [9, 'rand-m9', true]],
  ['augmentation.randAugment.magnitude', /number from 0 to 10/, [-1, 10.5, '9']],
  ['augmentation.randAugment.layers', /positive integer up to 100/, [...positiveInteger, 101, 1e9]],
  ['augmentation.repeats', /positive integer/, positiveInteger],
  ['regularization.erasing', /number from 0 to 1/, probabilities],
  ['regularization.mixup', /number of at least 0/, notNegative],
  ['regularization.cutmix', /number of at least 0/, notNegative],
  ['regularization.mixProbability', /number from 0 to 1/, probabilities],
  ['regularization.mixSwitch', /number from 0 to 1/, probabilities],
  ['regularization.labelSmoothing', /below 1/, belowOne],
  ['regularization.stochasticDepth', /below 1/, belowOne],
  ['regularization.adaptive', /d0, d1 or a mapping/, [0.1, true, 'd2']],
  ['regularization.adaptive.erasing', /from 0 to 1/, [[0, 2]]],
  ['evaluation.crop', /auto or a number above 0 and at most 1/, [0, 1.1, 'full']],
  ['regularization.adaptive.stochasticDepth', /two numbers/, [0.1, [0.1]]],
  ['regularization.adaptive.stochasticDepth', /below 1/, [[0, 1]]],
  ['tokenLabels', /null or a mapping/, [true, 'labels', 3]],
  ['tokenLabels.maps', /the path of label maps/, ['', 3, true]],
  ['tokenLabels.mixToken', /true or false/, [1, 'no', null]],
  ['tokenLabels.classWeight', /positive number/, positiveNumber],
  ['tokenLabels.denseWeight', /positive number/, positiveNumber],
  ['evaluation.every', /integer of at least 0/, naturalNumber],
  ['evaluation.resolution', /null or a positive integer/, [0, 1.5, 'full']],
  ['evaluation.batch', /positive integer/, positiveInteger],
  ['checkpoint.every', /positive integer/, positiveInteger],
  ['checkpoint.keep', /positive integer/, positiveInteger],
]
for (const [path, what, values] of refused) {
  test(`${path} refuses wrong types and ranges: ${what.source}`, (t) => {
    for (const value of values) {
      const { message } = failure(t, () => resolveConfig(recipe(path, value)))
      t.regex(message, what, JSON.stringify(value))
      t.true(message.includes(path) && message.includes('but received'), message)
    }
  })
}

test('the table above names every option that is no choice among words', (t) => {
  const leaves = (value: unknown, path: string): string[] =>
    value !== null && typeof value === 'object' && !Array.isArray(value)
      ? Object.entries(value).flatMap(([key, inner]) => leaves(inner, `${path}.${key}`))
      : [path.slice(1)]
  const words = ['data', 'model', 'device', 'precision', 'schedule.kind', 'schedule.operator', 'schedule.source']
  words.push('schedule.moments', 'search.time', 'search.resolution', 'learningRate.per', 'evaluation.averages')
  words.push('augmentation.crop', 'augmentation.filter', 'augmentation.flip', 'augmentation.exact')
  const tested = new Set(refused.map(([path]) => path))
  t.deepEqual(
    leaves(resolveConfig(minimal), '').filter((path) => !tested.has(path) && !words.includes(path)),
    [],
  )
})

test('numbers at the edge of their range are accepted', (t) => {
  for (const [path, value] of [
    ['schedule.ratio', 1],
    ['optimizer.weightDecay', 0],
    ['regularization.stochasticDepth', 0],
    ['evaluation.every', 0],
    ['batch', 2],
    ['search.epochs', 5],
  ] as const) {
    t.notThrows(() => resolveConfig(recipe(path, value)), path)
  }
})

test('token labels have the weights of the paper, and go with mixed images where tokens are not mixed', (t) => {
  const volo = { ...minimal, model: 'volo_d1_224' }
  t.is(resolveConfig(volo).tokenLabels, null)
  const defaults = { maps: null, mixToken: true, classWeight: 1, denseWeight: 0.5 }
  t.deepEqual(resolveConfig({ ...volo, tokenLabels: {} }).tokenLabels, defaults)
  const mixed = { ...volo, tokenLabels: { mixToken: false }, regularization: { cutmix: 1 } }
  t.is(resolveConfig(mixed).tokenLabels?.mixToken, false)
  // A model that is settled later is judged then.
  t.notThrows(() => resolveConfig({ ...minimal, model: 'auto', tokenLabels: {} }))
})

test('words are chosen from lists, and the nearest is suggested', (t) => {
  for (const [path, value, hint] of [
    ['schedule.kind', 'autprog', 'autoprog'],
    ['schedule.operator', 'mogrw', 'mogrow'],
    ['search.time', 'medain', 'median'],
    ['search.resolution', 'raising', 'rising'],
    ['learningRate.per', 'steps', 'step'],
  ] as const) {
    t.is(failure(t, () => resolveConfig(recipe(path, value))).hint, `did you mean ${hint}?`)
  }
  t.regex(failure(t, () => resolveConfig(recipe('device', 'gpu'))).message, /auto, cpu, cuda or cuda:N for device/)
  t.regex(failure(t, () => resolveConfig(recipe('precision', 'int8'))).message, /one of fp32, bf16, fp16/)
  t.regex(failure(t, () => resolveConfig(recipe('augmentation.flip', 'yes'))).message, /true or false/)
  t.is(resolveConfig(recipe('device', 'cuda:1')).device, 'cuda:1')
})

test('an unknown key is named at any depth, with the nearest known one', (t) => {
  for (const [path, hint] of [
    ['epochz', 'epochs'],
    ['schedule.stagse', 'schedule.stages'],
    ['regularization.adaptive.stochasticDeph', 'regularization.adaptive.stochasticDepth'],
    ['stages', 'schedule.stages'],
    ['optimizer.decays', 'ema.decays'],
  ] as const) {
    const { message, hint: said } = failure(t, () => resolveConfig(recipe(path, 3)))
    t.regex(`${message} ${said}`, new RegExp(`Unknown key ${path}.*did you mean ${hint}\\?`))
  }
  const item = failure(t, () => resolveConfig(recipe('schedule.subnetworks', [{ l: 1, n: 1, m: 1 }])))
  t.is(item.message, 'Unknown key schedule.subnetworks.0.m')
  for (const key of ['constructor', '__proto__', 'toString']) {
    const { message } = failure(t, () => loadConfig({ overrides: [...minimalOverrides, { path: key, value: 1 }] }))
    t.is(message, `Unknown key ${key}`)
  }
})

test('a model may be spelt out, and its own keys are checked', (t) => {
  const vit = { kind: 'vit', imageSize: 28, patchSize: 4, embedDim: 48, depth: 4, heads: 3 }
  t.deepEqual(resolveConfig({ ...minimal, model: vit }).model, vit)
  t.regex(
    failure(t, () => resolveConfig({ ...minimal, model: { ...vit, heads: 0 } })).message,
    /for model\.heads but received 0/,
  )
  t.regex(
    failure(t, () => resolveConfig({ ...minimal, model: { ...vit, channels: 2 } })).message,
    /1 or 3 for model\.channels/,
  )
  t.is(
    failure(t, () => resolveConfig({ ...minimal, model: { ...vit, patchsize: 4 } })).hint,
    'did you mean model.patchSize?',
  )
  t.regex(
    failure(t, () => resolveConfig({ ...minimal, model: 7 })).message,
    /a model name or a mapping .* for model but received 7/,
  )
})

test('what is missing or no mapping at all is named', (t) => {
  t.regex(
    failure(t, () => resolveConfig({})).message,
    /for data but received undefined[\s\S]*for model but received undefined/,
  )
  for (const input of [null, [], 'data: x', 3]) {
    t.regex(failure(t, () => resolveConfig(input)).message, /Expected a mapping for a recipe/)
  }
  t.regex(
    failure(t, () => resolveConfig({ ...minimal, search: null })).message,
    /Expected a mapping for search but received null/,
  )
})

test('a warm-up that nobody gave is short where epochs are few', (t) => {
  const warmupOf = (epochs: number) =>
    resolveConfig({ data: 'mnist', model: 'vit_micro', epochs }).learningRate.warmupEpochs
  t.deepEqual([1, 4, 16, 20, 300].map(warmupOf), [0.25, 1, 4, 5, 5])
})

test('a model that cannot be made is a mistake of the recipe, with its line', (t) => {
  const path = file('unmade.yaml', 'data: x\nmodel: resnet19\n')
  checkError(
    t,
    failure(t, () => loadConfig({ file: path })),
    {
      code: 'CONFIG',
      message: /unmade\.yaml, line 2: There is no model "resnet19"/,
      hint: /resnet18/,
    },
  )
  const model = { kind: 'vit', imageSize: 32, patchSize: 7, embedDim: 32, depth: 2, heads: 2 }
  t.regex(failure(t, () => resolveConfig({ data: 'x', model })).message, /imageSize|patchSize|32/)
})

test('a batch of auto needs no rate yet, and a micro-batch is only even', (t) => {
  const given = { data: 'x', model: 'vit_micro', batch: 'auto' }
  const optimizer = { learningRate: 1e-6, referenceBatch: 64 }
  t.is(resolveConfig({ ...given, optimizer, microBatch: 6 }).batch, 'auto')
  t.regex(failure(t, () => resolveConfig({ ...given, microBatch: 3 })).message, /even integer for microBatch/)
  t.regex(failure(t, () => resolveConfig({ ...given, batch: 3 })).message, /auto or an even integer of at least 2/)
})

const contradicting: [name: string, input: object, message: RegExp][] = [
  [
    'a warm-up beyond the run',
    { epochs: 4, learningRate: { warmupEpochs: 5 } },
    /at most the epochs, 4, for learningRate\.warmupEpochs but received 5/,
  ],
  ['one length too few', { schedule: { lengths: [1, 1, 1] } }, /one length a stage, 4, .* but received 3/],
  ['lengths of a scheme with one stage', { schedule: { kind: 'original', lengths: [1, 1] } }, /one length a stage, 1/],
  [
    'fixed without sub-networks',
    { schedule: { kind: 'fixed' } },
    /list of \{ l, n \} for schedule\.subnetworks of a fixed/,
  ],
  [
    'fixed with other stages',
    { schedule: { kind: 'fixed', stages: 3, subnetworks: [{ l: 1, n: 1 }] } },
    /Expected 1, the number of schedule\.subnetworks, for schedule\.stages/,
  ],
  [
    'a search longer than its stage',
    { search: { epochs: 6 } },
    /at most 5, the shortest stage that searches, for search\.epochs/,
  ],
  ['the same with lengths', { search: { epochs: 3 }, schedule: { lengths: [1, 2, 3, 4] } }, /at most 2,/],
  [
    'a floor above the peak',
    { learningRate: { minimum: 0.01 } },
    /at most the peak, 0\.001, for learningRate\.minimum/,
  ],
  ['a warm-up from above the peak', { learningRate: { warmupStart: 0.01 } }, /for learningRate\.warmupStart/],
  ['a micro-batch above the batch', { microBatch: 256 }, /an even divisor of the batch, 128, for microBatch/],
  ['a micro-batch that does not divide it', { microBatch: 48 }, /an even divisor of the batch, 128, for microBatch/],
  ['an odd micro-batch', { batch: 6, microBatch: 3 }, /an even divisor of the batch, 6, for microBatch/],
  [
    'a falling range',
    { regularization: { adaptive: { stochasticDepth: [0.2, 0.1] } } },
    /\[min, max\] in rising order/,
  ],
  ['a falling range of areas', { augmentation: { scale: [1, 0.08] } }, /rising order for augmentation\.scale/],
  [
    "RandAugment's magnitude without RandAugment",
    { regularization: { adaptive: { magnitude: [4, 9] } } },
    /RandAugment, and there is none/,
  ],
  [
    'stochastic depth of a ResNet',
    { model: 'resnet50', regularization: { stochasticDepth: 0.1 } },
    /resnet50 has no stochastic depth/,
  ],
  [
    "adaptive regularisation of a ResNet's stochastic depth",
    { model: 'resnet50', regularization: { stochasticDepth: 0, adaptive: 'd0' } },
    /resnet50 has no stochastic depth/,
  ],
  [
    'token labels for a network without a head for them',
    { tokenLabels: {} },
    /vit_fashion has no head for tokens, which tokenLabels needs/,
  ],
  [
    'MixToken beside CutMix',
    { model: 'volo_d1_224', tokenLabels: {}, regularization: { cutmix: 1 } },
    /by MixToken, or by mixup and CutMix, but not by both/,
  ],
  [
    'a warm-up from above the peak of a small batch',
    { batch: 2, optimizer: { referenceBatch: 4096 }, learningRate: { minimum: 0 } },
    /at most the peak, 4\.8828125e-7, for learningRate\.warmupStart/,
  ],
]
for (const [name, input, message] of contradicting) {
  test(`refuses ${name}`, (t) => {
    const error = failure(t, () => resolveConfig({ ...minimal, ...input }))
    t.regex(error.message, message)
    t.truthy(error.hint)
  })
}

const minimalOverrides: Override[] = Object.entries(minimal).map(([path, value]) => ({ path, value }))

test('a file gives line numbers, an override none', (t) => {
  const path = file('lines.yaml', 'data: x\nmodel: y\nepochz: 3\nschedule:\n  ratio: 2\n  stages: 4\n')
  t.is(
    failure(t, () => loadConfig({ file: path, overrides: [{ path: 'seed', value: -1 }] })).message,
    [
      'Expected an integer of at least 0 for seed but received -1',
      `${path}, line 5: Expected a number above 0 and at most 1 for schedule.ratio but received 2`,
      `${path}, line 3: Unknown key epochz (did you mean epochs?)`,
    ].join('\n'),
  )
})

test('overrides reach into mappings and lists, later ones win', (t) => {
  const path = file('overrides.yaml', 'data: x\nmodel: vit_micro\nschedule: { lengths: [1, 2, 3, 4] }\n')
  const overrides = [
    { path: 'schedule.lengths.0', value: 7 },
    { path: 'schedule.ratio', value: 0.4 },
    { path: 'schedule.ratio', value: 0.5 },
    { path: 'ema.decays', value: [0.9] },
  ]
  const config = loadConfig({ file: path, overrides })
  t.deepEqual(config.schedule.lengths, [7, 2, 3, 4])
  t.is(config.schedule.ratio, 0.5)
  t.deepEqual(config.ema.decays, [0.9])
  const error = failure(t, () => loadConfig({ file: path, overrides: [{ path: 'model.depth', value: 3 }] }))
  t.regex(`${error.message} ${error.hint}`, /"model\.depth".*part of model\.depth is a single value/)
})

test('files that are missing, no YAML or empty are refused', (t) => {
  t.regex(
    failure(t, () => loadConfig({ file: join(folder, 'none.yaml') })).message,
    /Cannot read the recipe .*none\.yaml/,
  )
  t.regex(
    failure(t, () => loadConfig({ file: file('bad.yaml', 'data: [x\nmodel: y') })).message,
    /bad\.yaml is not YAML: .*line/,
  )
  t.regex(failure(t, () => loadConfig({ file: file('twice.yaml', 'data: x\ndata: y') })).message, /unique/)
  t.regex(failure(t, () => loadConfig({ file: file('empty.yaml', '') })).message, /for data but received undefined/)
})

test('files that would cost a parser all of its time or memory are refused', (t) => {
  const refusal = (name: string, text: string) => failure(t, () => loadConfig({ file: file(name, text) }))
  const nine = (inner: string) => `[${Array(9).fill(inner).join(', ')}]`
  const aliases = Array.from(
    { length: 9 },
    (_, level) => `k${level}: &a${level} ${nine(level ? `*a${level - 1}` : 'x')}`,
  )
  t.regex(refusal('aliases.yaml', aliases.join('\n')).message, /aliases\.yaml cannot be read as a recipe: .*alias/)
  for (const text of [
    '['.repeat(200_000),
    `${'['.repeat(5000)}${']'.repeat(5000)}`,
    '- '.repeat(5000),
    '{a: '.repeat(900),
  ])
    t.regex(refusal('deep.yaml', `data:\n  ${text}`).message, /deep\.yaml nests its values more than 100 levels deep/)
  const { message, hint } = refusal('large.yaml', `data: x\n#${'x'.repeat(2 ** 20)}`)
  t.regex(message, /large\.yaml is larger than any recipe: it has more than 262144 bytes/)
  t.truthy(hint)
  const many = Array.from({ length: 1000 }, () => '    - { l: 0.5, n: 0.5 }').join('\n')
  const schedule = `schedule:\n  kind: fixed\n  subnetworks:\n${many}`
  t.is(loadConfig({ file: file('many.yaml', `data: x\nmodel: auto\nepochs: 1000\n${schedule}`) }).schedule.stages, 1000)
})

test('a written recipe reads back the same', (t) => {
  const schedule = {
    kind: 'fixed',
    subnetworks: [
      { l: 0.5, n: 0.6 },
      { l: 1, n: 1 },
    ],
    lengths: [1, 3],
  }
  const config = resolveConfig({ ...minimal, schedule, optimizer: { epsilon: 1e-8, clip: 1 } })
  t.deepEqual(loadConfig({ file: file('written.yaml', configToYaml(config)) }), config)
})

test('schemes count their stages and drop lengths that do not fit', (t) => {
  const config = resolveConfig({
    ...minimal,
    schedule: {
      lengths: [1, 2, 3, 4],
      subnetworks: [
        { l: 0.5, n: 0.6 },
        { l: 1, n: 1 },
      ],
    },
  })
  const counts = { original: 1, supernet: 1, progstack: 3, prog: 4, autoprog: 4, fixed: 2 } as const
  for (const [kind, count] of Object.entries(counts) as [keyof typeof counts, number][]) {
    const { schedule } = withScheme(config, kind)
    t.is(stageCount(schedule), count, kind)
    t.deepEqual(schedule.lengths, count === 4 ? [1, 2, 3, 4] : null, kind)
  }
  t.throws(() => withScheme(resolveConfig(minimal), 'fixed'), { code: 'CONFIG' })
})

test('the recipes of the package are valid', (t) => {
  const recipes = readdirSync('recipes')
  t.true(recipes.includes('fashion-mnist.yaml'))
  for (const name of recipes) t.notThrows(() => loadConfig({ file: join('recipes', name) }), name)
})

test('a recipe is checked under the scheme asked for, not under the one that it names', (t) => {
  const recipe = { ...minimal, epochs: 16, search: { epochs: 2 }, learningRate: { warmupEpochs: 1 } }
  const written = file('short.yaml', configToYaml(resolveConfig(recipe)))
  const overrides = [{ path: 'epochs', value: 1 }]
  t.throws(() => loadConfig({ file: written, overrides }), { code: 'CONFIG', message: /search\.epochs/ })
  const { epochs, schedule } = loadConfig({ file: written, overrides, scheme: 'original' })
  t.deepEqual([epochs, schedule.kind], [1, 'original'])
})
