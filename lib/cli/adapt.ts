/** A recipe bent to the length and the network that a command line asks for in place of its own. */
import type { Config, Override } from '../recipe/config.js'
import { networkOf } from '../recipe/rules.js'
import { rangesOf } from '../recipe/values.js'
import { plural } from '../report/format.js'

export interface Adapted {
  readonly config: Config
  /** What gave way and why, a sentence each. */
  readonly notices: readonly string[]
}

/**
 * The recipe that `load` gives for the values of keys that were given. Where these alone make it impossible, other keys give
 * way, unless they were given themselves: a warm-up that is longer than the epochs, and stochastic depth where the network
 * has no branches to drop. Throws what `load` throws.
 */
export function adapt(load: (overrides: readonly Override[]) => Config, given: readonly Override[]): Adapted {
  try {
    return { config: load(given), notices: [] }
  } catch (error) {
    const recipe = attempt(() => load(given.filter(({ path }) => path !== 'epochs' && path !== 'model')))
    const changes = recipe === undefined ? [] : changesOf(recipe, given)
    if (changes.length === 0) throw error
    return {
      config: load([...given, ...changes.map(({ override }) => override)]),
      notices: changes.map(({ notice }) => notice),
    }
  }
}

interface Change {
  readonly override: Override
  readonly notice: string
}

function changesOf(recipe: Config, given: readonly Override[]): Change[] {
  const lastOf = (key: string) => given.findLast(({ path }) => path === key)?.value
  const isGiven = (key: string) => given.some(({ path }) => key === path || key.startsWith(`${path}.`))
  const changes: Change[] = []

  const [epochs, key] = [lastOf('epochs'), 'learningRate.warmupEpochs']
  const { warmupEpochs } = recipe.learningRate
  if (typeof epochs === 'number' && epochs > 0 && warmupEpochs > epochs && !isGiven(key)) {
    const value = Number(((epochs * warmupEpochs) / recipe.epochs).toPrecision(2))
    const notice = `the warm-up was shortened from ${warmupEpochs} of ${plural(recipe.epochs, 'epoch')} to ${value} of ${epochs} (${key})`
    changes.push({ override: { path: key, value }, notice })
  }

  const [model, depthKey] = [lastOf('model'), 'regularization.stochasticDepth']
  const drops = recipe.regularization.adaptive === null && rangesOf(recipe).stochasticDepth.maximum > 0
  if (typeof model === 'string' && drops && !isGiven(depthKey) && networkOf(model)?.branches === 0) {
    const notice = `${model} has no stochastic depth, so that the recipe's was left out (${depthKey})`
    changes.push({ override: { path: depthKey, value: 0 }, notice })
  }
  return changes
}

function attempt<T>(make: () => T): T | undefined {
  try {
    return make()
  } catch {
    return undefined
  }
}
