import { AutoprogError, checkKind, checkOptions, describe, expected, nearest } from '../errors.js'
import type { Model } from './model.js'
import type { ResnetConfiguration } from './resnet.js'
import { createResnet } from './resnet.js'
import type { VitConfiguration } from './vit.js'
import { createVit } from './vit.js'
import type { VoloConfiguration } from './volo.js'
import { createVolo } from './volo.js'

const deit = (embedDim: number, heads: number): VitConfiguration => ({
  imageSize: 224,
  patchSize: 16,
  embedDim,
  depth: 12,
  heads,
  classes: 1000,
})

const wide = { embedDims: [256, 512, 512, 512], heads: [8, 16, 16, 16] }
const wider = { embedDims: [384, 768, 768, 768], heads: [12, 16, 16, 16] }
const volos: Readonly<Record<string, Omit<VoloConfiguration, 'imageSize' | 'classes'>>> = {
  d1: { layers: [4, 4, 8, 2], embedDims: [192, 384, 384, 384], heads: [6, 12, 12, 12] },
  d2: { layers: [6, 4, 10, 4], ...wide },
  d3: { layers: [8, 8, 16, 4], ...wide },
  d4: { layers: [8, 8, 16, 4], ...wider },
  d5: { layers: [12, 12, 20, 4], ...wider, mlpRatio: 4, stemDim: 128 },
}
const volo = (size: keyof typeof volos, imageSize: number) => {
  const name = `volo_${size}_${imageSize}`
  return { [name]: () => createVolo(name, { ...volos[size]!, imageSize, classes: 1000 }) }
}

const resnet = (name: string, block: ResnetConfiguration['block'], layers: number[]) => ({
  [name]: () => createResnet(name, { block, layers, imageSize: 224, classes: 1000 }),
})

const registry: Readonly<Record<string, () => Model>> = {
  deit_tiny_patch16_224: () => createVit('deit_tiny_patch16_224', deit(192, 3)),
  deit_small_patch16_224: () => createVit('deit_small_patch16_224', deit(384, 6)),
  deit_base_patch16_224: () => createVit('deit_base_patch16_224', deit(768, 12)),
  ...volo('d1', 224),
  ...volo('d1', 384),
  ...volo('d2', 224),
  ...volo('d2', 384),
  ...volo('d3', 224),
  ...volo('d3', 448),
  ...volo('d4', 224),
  ...volo('d4', 448),
  ...volo('d5', 224),
  ...volo('d5', 448),
  ...volo('d5', 512),
  ...resnet('resnet18', 'basic', [2, 2, 2, 2]),
  ...resnet('resnet34', 'basic', [3, 4, 6, 3]),
  ...resnet('resnet50', 'bottleneck', [3, 4, 6, 3]),
  ...resnet('resnet101', 'bottleneck', [3, 4, 23, 3]),
  ...resnet('resnet152', 'bottleneck', [3, 8, 36, 3]),
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

interface Configurations {
  vit: VitConfiguration
  volo: VoloConfiguration
  resnet: ResnetConfiguration
}
type Kind = keyof Configurations

/** Kinds of network whose numbers may be given freely. */
const kinds: { readonly [K in Kind]: (configuration: Configurations[K]) => Model } = {
  vit: (configuration) => createVit('vit', configuration),
  volo: (configuration) => createVolo('volo', configuration),
  resnet: (configuration) => createResnet('resnet', configuration),
}
export const modelKinds = Object.keys(kinds) as readonly Kind[]

/** A kind with its numbers; `classes` may come from the data. */
type Described<K extends Kind> = { kind: K } & Omit<Configurations[K], 'classes'> & { classes?: number | undefined }

/** A name, or a kind with its numbers. */
export type ModelDescription = string | { [K in Kind]: Described<K> }[Kind]

/** What of a network the data decides. */
interface ForData {
  classes?: number
  channels?: 1 | 3
}

/**
 * A model by name, by kind and configuration (`createModel('vit', { … })`), or by a mapping with its kind inside, as a
 * recipe has it. Throws CONFIG for an unknown name, suggesting the nearest.
 */
export function createModel<K extends Kind>(kind: K, configuration: Configurations[K]): Model
export function createModel(description: ModelDescription, data?: ForData): Model
export function createModel(description: ModelDescription, given?: ForData | Configurations[Kind]): Model {
  return guarded(create(description, given))
}

function create(description: ModelDescription, given: ForData | Configurations[Kind] | undefined): Model {
  if (given !== undefined) checkKind('mapping', 'the numbers of a model', given)
  if (typeof description === 'object' && description !== null) {
    const { kind, ...numbers } = description
    if (!isKind(kind)) throw unknownModel(kind)
    const { classes, channels } = (given ?? {}) as ForData
    const model = make(kind, { ...numbers, ...(classes !== undefined && { classes }) } as Configurations[Kind])
    return channels === undefined || channels === model.channels ? model : model.withData({ channels })
  }
  if (isKind(description) && given !== undefined) return make(description, given as Configurations[Kind])
  const known =
    typeof description === 'string' && Object.hasOwn(registry, description) ? registry[description] : undefined
  if (known === undefined) throw unknownModel(description)
  const model = known()
  return given === undefined ? model : model.withData(given as ForData)
}

/** The same model, which checks what its callers give it. */
function guarded(model: Model): Model {
  return {
    ...model,
    blockPrefix: (index) => {
      if (Number.isInteger(index) && index >= 0 && index < model.depth) return model.blockPrefix(index)
      throw new AutoprogError('CONFIG', expected(`a block from 0 to ${model.depth - 1}`, 'index', index))
    },
    withBlocks: (blocks) => {
      checkKind('list', 'blocks', blocks)
      return guarded(model.withBlocks(blocks))
    },
    withData: (data) => {
      checkKind('mapping', 'the data of a model', data)
      return guarded(model.withData(data))
    },
    flops: (options = {}) => {
      checkOptions('the options of flops', options, { blocks: 'list', resolution: 'number' })
      return model.flops(options)
    },
    parameterCount: (blocks) => {
      if (blocks !== undefined) checkKind('list', 'blocks', blocks)
      return model.parameterCount(blocks)
    },
  }
}

const isKind = (name: unknown): name is Kind => typeof name === 'string' && Object.hasOwn(kinds, name)

/** The kind decides which configuration it is. */
function make(kind: Kind, configuration: Configurations[Kind]): Model {
  return (kinds[kind] as (configuration: Configurations[Kind]) => Model)(configuration)
}

function unknownModel(name: unknown): AutoprogError {
  const close = typeof name === 'string' ? nearest(name, [...modelNames(), ...modelKinds]) : undefined
  return new AutoprogError('CONFIG', `There is no model ${describe(name)}`, {
    hint: `${close ? `Did you mean ${close}? ` : ''}Known: ${modelNames().join(', ')}, or kind: ${modelKinds.join(', ')} with its numbers.`,
  })
}
