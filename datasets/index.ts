/** Every dataset there is, by name or by path. */
import { stat } from 'node:fs/promises'
import type { Dataset, LoadOptions } from '../lib/data/source/dataset.js'
import { decodeDataset } from '../lib/data/source/image-tree.js'
import { checkValidationShare, keepForValidation } from '../lib/data/source/validation.js'
import { AutoprogError, checkOptions, expected, nearest } from '../lib/errors.js'
import { isCifar10, loadCifar10 } from './cifar10.js'
import { loadFashionMnist } from './fashion-mnist.js'
import { listImageFolder } from './image-folder.js'
import { loadMnist } from './mnist.js'
import { listPack } from './pack.js'
import { expandShards, findShards, listShards } from './shards.js'
import { listTar } from './tar.js'

export type { Dataset, LoadOptions } from '../lib/data/source/dataset.js'

const named: ReadonlyMap<string, (options: LoadOptions) => Promise<Dataset>> = new Map([
  ['fashion-mnist', loadFashionMnist],
  ['mnist', loadMnist],
])

export const datasetNames: readonly string[] = [...named.keys()]

/**
 * Loads a dataset by name, or from the path of a folder of class folders, a tar archive, a folder of archives or their names with
 * braces (`train-{000..146}.tar`), a packed dataset (`.pack`), or a folder of CIFAR-10's binary files. A name wins over a folder of
 * that name; write `./mnist` for the folder.
 * Throws DATA where there is no such thing or it cannot be used, CONFIG on a bad option.
 */
export async function loadDataset(name: string, options: LoadOptions = {}): Promise<Dataset> {
  return decodeDataset(keepForValidation(await listDataset(name, options), options), options)
}

/** The same without decoding a single image: those of files are decoded when they are asked for. */
export async function listDataset(name: string, options: LoadOptions = {}): Promise<Dataset> {
  if (typeof name !== 'string' || name === '') {
    throw new AutoprogError('CONFIG', expected('the name of a dataset, or a path,', 'data', name))
  }
  checkOptions('the options of a dataset', options, {
    ...{ halves: 'string', holdOut: 'number', validation: 'number', seed: 'number', maxBroken: 'number' },
    ...{ signal: 'signal', onProgress: 'function', onListing: 'function' },
  })
  const { seed = 0, signal, halves, validation = 0 } = options
  checkValidationShare(validation)
  if (halves !== undefined && halves !== 'held-out' && halves !== 'all') {
    throw new AutoprogError('CONFIG', expected("'held-out' or 'all'", 'halves', halves))
  }
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new AutoprogError('CONFIG', expected('an integer of at least 0', 'seed', seed))
  }
  signal?.throwIfAborted()
  const load = named.get(name)
  if (load !== undefined) return load(options)
  const found = await stat(name).catch((cause: NodeJS.ErrnoException) => cause)
  if (found instanceof Error) {
    const shards = await expandShards(name)
    if (shards === undefined) throw notFound(name, found)
    return listShards(shards, options)
  }
  if (found.isDirectory()) return listFolder(name, options)
  if (!found.isFile()) {
    const hint = 'copy what comes out of it to a file first'
    throw new AutoprogError('DATA', `${name} is neither a file nor a folder`, { hint })
  }
  return name.endsWith('.pack') ? listPack(name) : listTar(name, options)
}

async function listFolder(folder: string, options: LoadOptions): Promise<Dataset> {
  if (await isCifar10(folder)) return loadCifar10(folder, options)
  const shards = await findShards(folder, options)
  return shards === undefined ? listImageFolder(folder, options) : listShards(shards, options)
}

function notFound(name: string, cause: NodeJS.ErrnoException): AutoprogError {
  const guess = nearest(name, datasetNames)
  const hint =
    guess === undefined
      ? `give ${datasetNames.join(', ')}, or the path of a folder or .tar of class folders`
      : `did you mean ${guess}?`
  const reason = cause.code === 'ENOENT' ? '' : ` (${cause.message})`
  return new AutoprogError('DATA', `There is no dataset and no file named ${name}${reason}`, { hint, cause })
}
