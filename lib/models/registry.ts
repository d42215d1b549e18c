import { AutoprogError, describe, nearest } from '../errors.js'
import type { Model } from './model.js'
import type { VitConfiguration } from './vit.js'
import { createVit } from './vit.js'

const deit = (embedDim: number, heads: number): VitConfiguration => ({
  imageSize: 224,
  patchSize: 16,
  embedDim,
  depth: 12,
  heads,
  classes: 1000,
})

const registry: Readonly<Record<string, () => Model>> = {
  deit_tiny_patch16_224: () => createVit('deit_tiny_patch16_224', deit(192, 3)),
  deit_small_patch16_224: () => createVit('deit_small_patch16_224', deit(384, 6)),
  deit_base_patch16_224: () => createVit('deit_base_patch16_224', deit(768, 12)),
  // For trials and tests: seconds rather than hours.
  vit_micro: () =>
    createVit('vit_micro', { imageSize: 32, patchSize: 8, embedDim: 48, depth: 4, heads: 3, classes: 10 }),
  // For images of 28 pixels, enlarged to 56 so that lower stages lose no detail: 49 patches.
  vit_fashion: () =>
    createVit('vit_fashion', {
      imageSize: 56,
      patchSize: 8,
      embedDim: 48,
      depth: 8,
      heads: 3,
      channels: 1,
      classes: 10,
      initialization: 'glorot',
      mean: [0.286],
      deviation: [0.353],
    }),
}

export function modelNames(): string[] {
  return Object.keys(registry)
}

/** Kinds of network whose numbers may be given freely. */
const kinds = { vit: (configuration: VitConfiguration) => createVit('vit', configuration) }

/** A name, or a kind with its numbers; `classes` may come from the data. */
export type ModelDescription =
  | string
  | ({ kind: 'vit' } & Omit<VitConfiguration, 'classes'> & { classes?: number | undefined })

/**
 * A model by name, by kind and configuration (`createModel('vit', { … })`), or by a mapping with its kind inside, as a
 * recipe has it. Throws CONFIG for an unknown name, suggesting the nearest.
 */
export function createModel(
  description: ModelDescription,
  configuration?: VitConfiguration | { classes?: number; channels?: 1 | 3 },
): Model {
  if (typeof description === 'object' && description !== null) {
    const { kind, ...rest } = description
    if (kind in kinds) return kinds[kind]({ ...rest, ...configuration } as VitConfiguration)
    throw unknownModel(kind)
  }
  if (description in kinds && configuration !== undefined)
    return kinds[description as 'vit'](configuration as VitConfiguration)
  const create = Object.hasOwn(registry, description) ? registry[description] : undefined
  if (create === undefined) throw unknownModel(description)
  const model = create()
  return configuration === undefined ? model : model.withData(configuration)
}

function unknownModel(name: unknown): AutoprogError {
  const close = nearest(String(name), [...modelNames(), ...Object.keys(kinds)])
  return new AutoprogError('CONFIG', `There is no model ${describe(name)}`, {
    hint: `${close ? `Did you mean ${close}? ` : ''}Known: ${modelNames().join(', ')}, or kind: vit with its numbers.`,
  })
}
