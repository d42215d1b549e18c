/** The public API with arguments that nobody should give: whatever fails does so with a code. */
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { annotate, evaluate, loadConfig, loadDataset, resolveConfig, type TrainOptions, train } from '../lib/index.js'
import { configToYaml } from '../lib/recipe/config.js'
import { classPictures, temporaryFolder, writeTree } from './data/images.js'
import { checkError } from './error.js'
import { assail, junk } from './junk.js'
import { test } from './serial.js'

const root = await temporaryFolder()
const data = join(root, 'data')
await writeTree(data, {
  ...(await classPictures('train/', ['a', 'b'], 8)),
  ...(await classPictures('val/', ['a', 'b'], 2)),
})
const config = resolveConfig({
  ...{ data, device: 'cpu', epochs: 1, batch: 4, microBatch: 4, threads: 1, workers: 1 },
  model: { kind: 'vit', imageSize: 8, patchSize: 8, embedDim: 4, depth: 1, heads: 1 },
  schedule: { kind: 'original', stages: 1 },
  learningRate: { warmupEpochs: 0 },
  ema: { decays: [0.9] },
  regularization: { stochasticDepth: 0 },
})
const recipe = join(root, 'recipe.yaml')
const run = join(root, 'run')
await writeTree(root, { 'recipe.yaml': configToYaml(config), 'maps/none': '' })
for await (const _ of train(config, { out: run }));

/** Trains until the first event. */
async function begin(recipeGiven: typeof config, options?: TrainOptions): Promise<void> {
  for await (const _ of train(recipeGiven, options)) return
}

/** Listeners that are none; a class is one until it is called, and then its own failure. */
async function refusesListeners(t: ExecutionContext, names: string[], call: (options: object) => Promise<unknown>) {
  for (const name of names)
    for (const value of junk.filter((each) => each !== undefined && typeof each !== 'function'))
      checkError(t, await t.throwsAsync(call({ [name]: value })), {
        code: 'CONFIG',
        message: new RegExp(`^Expected a function for ${name} but received `),
      })
}

const signal = new AbortController().signal

test('junk for a training', async (t) => {
  t.timeout(300_000)
  await assail(t, 'train', begin, [config], 1)
  const options = { resume: false, signal, baseline: run }
  await assail(t, 'train options', (given: TrainOptions) => begin(config, given), [options], 1)
  for (const out of junk.filter((value) => value !== undefined && (typeof value !== 'string' || value === '')))
    checkError(t, await t.throwsAsync(begin(config, { out: out as string })), {
      code: 'CONFIG',
      message: /^Expected a path for out but received /,
    })
  const listeners = ['onListing', 'onReading', 'onEvaluating', 'onComparing']
  await refusesListeners(t, listeners, (given) => begin(config, given))
})

test('junk for an evaluation and an annotation', async (t) => {
  t.timeout(300_000)
  await assail(t, 'evaluate', evaluate, [run, { data, resolution: 8, signal }], 1)
  await refusesListeners(t, ['onProgress'], (given) => evaluate(run, given))
  const file = join(root, 'maps.safetensors')
  const options = { resolution: 8, top: 1, batch: 2, weights: 'model', force: true, signal }
  const within = (path: unknown) =>
    (typeof path === 'string' && path !== '' ? join(root, 'maps', path) : path) as string
  const into = (from: string, of: string, path: string, given: object) => annotate(from, of, within(path), given)
  await assail(t, 'annotate', into, [run, data, 'maps.safetensors', options], 1)
  await refusesListeners(t, ['onListing', 'onReading', 'onProgress'], (given) => annotate(run, data, file, given))
})

test('junk for a dataset and a recipe', async (t) => {
  t.timeout(300_000)
  const options = { halves: 'all', holdOut: 0.1, validation: 0.1, seed: 1, maxBroken: 0.1, signal }
  await assail(t, 'loadDataset', loadDataset, [data, options], 1)
  await refusesListeners(t, ['onListing', 'onProgress'], (given) => loadDataset(data, given))
  await assail(t, 'resolveConfig', resolveConfig, [config], 1)
  await assail(
    t,
    'loadConfig',
    loadConfig,
    [{ file: recipe, overrides: [{ path: 'epochs', value: 3 }], scheme: 'prog' }],
    3,
  )
})
