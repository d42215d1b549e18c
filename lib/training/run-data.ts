/** The data that belong to a run: what it began with is compared with what it goes on with, and classes meet by name. */
import { resolve } from 'node:path'
import { datasetNames, listDataset } from '../../datasets/index.js'
import type { Dataset, Split } from '../data/source/dataset.js'
import type { DataIdentity, SplitIdentity } from '../data/source/fingerprint.js'
import { AutoprogError } from '../errors.js'
import type { Config } from '../recipe/config.js'
import { integer, plural } from '../report/format.js'

/** The recipe with the paths of its data made absolute, so that a run is found again from any folder. */
export function withAbsolutePaths(config: Config): Config {
  const { data, tokenLabels } = config
  const maps = tokenLabels?.maps
  return {
    ...config,
    data: datasetNames.includes(data) ? data : resolve(data),
    ...(tokenLabels && maps && { tokenLabels: { ...tokenLabels, maps: resolve(maps) } }),
  }
}

/** Throws DATA where a run would go on with other data than it began with: it says what has changed. */
export function checkSameData(began: DataIdentity, now: DataIdentity, name: string): void {
  const changes = [
    ...classChanges(began.classes, now.classes),
    ...splitChanges('training', began.train, now.train),
    ...splitChanges('validation', began.validation ?? noImages, now.validation ?? noImages),
    ...splitChanges('held-out', began.test, now.test),
  ]
  if (changes.length === 0) return
  const hint =
    'Give the data that the run began with (--data names a folder that was moved), or start a new run. Epochs, rates and the images held out follow from the data, so that none can be added on the way.'
  throw new AutoprogError('DATA', `${name} has changed since the run began: ${changes.join('; ')}`, { hint })
}

const noImages: SplitIdentity = { images: 0, fingerprint: '' }

function classChanges(began: readonly string[], now: readonly string[]): string[] {
  const missing = began.filter((name) => !now.includes(name))
  const added = now.filter((name) => !began.includes(name))
  if (missing.length === 1 && added.length === 1)
    return [`the class ${missing[0]} is missing and ${added[0]} is new (renamed?)`]
  return [
    ...(missing.length > 0 ? [`${plural(missing.length, 'class', 'classes')} missing (${listed(missing)})`] : []),
    ...(added.length > 0 ? [`${plural(added.length, 'class', 'classes')} new (${listed(added)})`] : []),
  ]
}

function splitChanges(half: string, began: SplitIdentity, now: SplitIdentity): string[] {
  const more = now.images - began.images
  if (more !== 0)
    return [
      `${integer(now.images)} ${half} images, ${integer(Math.abs(more))} ${more > 0 ? 'more' : 'fewer'} than then`,
    ]
  return now.fingerprint === began.fingerprint ? [] : [`as many ${half} images as then, but with other names or sizes`]
}

const listed = (names: readonly string[]) =>
  names.length > 8 ? `${names.slice(0, 8).join(', ')} and ${names.length - 8} more` : names.join(', ')

/** The classes of a run that has not kept them, where its data are still as they were: those of early versions did not. */
export async function classesOfData(config: Config, count: number): Promise<readonly string[] | undefined> {
  const dataset = await listDataset(config.data, { seed: config.seed }).catch(() => undefined)
  await dataset?.close()
  return dataset?.classes.length === count ? dataset.classes : undefined
}

/**
 * A dataset with the labels of a run's classes, which are found by their names. Throws DATA where it has classes that the run
 * does not know; of those that it lacks a notice tells.
 */
export function labelledAs(classes: readonly string[], dataset: Dataset): Dataset {
  const known = new Map(classes.map((name, index) => [name.normalize(), index]))
  const indices = dataset.classes.map((name) => known.get(name.normalize()))
  const unknown = dataset.classes.filter((_, index) => indices[index] === undefined)
  const found = new Set(indices)
  const missing = classes.filter((_, index) => !found.has(index))
  if (unknown.length > 0)
    throw new AutoprogError(
      'DATA',
      `${dataset.name} has ${plural(unknown.length, 'class', 'classes')} that the run does not know: ${listed(unknown)}`,
      {
        hint:
          missing.length === 0
            ? `The run was trained on ${listed(classes)}. Leave the others out.`
            : `The run was trained on ${listed(classes)}. Rename the folders alike${missing.length === unknown.length ? ` (${listed(missing)} ${missing.length === 1 ? 'is' : 'are'} missing)` : ''}, or leave the others out.`,
      },
    )
  const relabelled = (split: Split): Split => ({ ...split, labels: split.labels.map((label) => indices[label]!) })
  const notices =
    missing.length === 0
      ? []
      : [
          `${dataset.name} has no images of ${plural(missing.length, 'class', 'classes')} of the run: ${listed(missing)}`,
        ]
  return {
    ...dataset,
    classes,
    train: relabelled(dataset.train),
    ...(dataset.validation && { validation: relabelled(dataset.validation) }),
    test: relabelled(dataset.test),
    notices: [...dataset.notices, ...notices],
  }
}
