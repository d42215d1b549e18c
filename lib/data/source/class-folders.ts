/** How a tree of files becomes a labelled dataset: a folder per class, with or without a training and a test half above them. */
import { AutoprogError, nearest } from '../../errors.js'
import { imageEnding } from '../image/decode.js'
import type { Fault } from '../image/fault.js'
import type { LoadOptions } from './dataset.js'

/** A tree of files as a folder or an archive lists it. Paths are relative to `source`, their parts joined by '/'. */
export interface Listing {
  /** How an error names the tree. */
  readonly source: string
  readonly files: readonly string[]
  /** Folders, those without files included. */
  readonly folders: readonly string[]
  /** What is neither a file named like an image nor a folder that can be listed, by its path. */
  readonly faults?: readonly Fault[]
}

/** Some images of a listing. */
export interface LabelledPaths {
  readonly paths: readonly string[]
  readonly labels: Int32Array
  /** What all paths begin with and does not name an image; nothing if not given. */
  readonly root?: string
}

export interface Arrangement {
  /** Sorted by name. */
  readonly classes: readonly string[]
  readonly train: LabelledPaths
  /** Undefined where the tree has no test half. */
  readonly test: LabelledPaths | undefined
  readonly notices: readonly string[]
  /** Those of the listing that are not hidden. */
  readonly faults: readonly Fault[]
}

const testHalves = ['val', 'validation', 'test']

/**
 * Finds `CLASS/…`, or `train/CLASS/…` beside `val`, `validation` or `test` (the first of them that is there), under the tree's
 * root or under the one folder that holds everything. Throws DATA where that is not what the tree holds.
 */
export function arrangeClassFolders(listing: Listing, { halves }: Pick<LoadOptions, 'halves'> = {}): Arrangement {
  const { images, notices } = onlyImages(listing)
  const root = skipWrapper(images, ['train', ...testHalves])
  const top = childrenOf(images, root)
  const inTrain = childrenOf(images, `${root}train/`)
  const beside = testHalves.some((name) => top.folders.has(name))
  // A class may be called train; a loose image must not make one of a half.
  const hasHalves = top.folders.has('train') && (inTrain.images === 0 || (beside && inTrain.folders.size > 0))
  const names = [...top.folders.keys()]
  if (names.length > 0 && names.every((name) => testHalves.includes(name))) {
    throw wrongTree(images, listing.source, `has ${names.join(' and ')} but no train`)
  }
  const train = labelClasses(images, hasHalves ? `${root}train/` : root)
  if (train.classes.length < 2 && halves !== 'all')
    throw wrongTree(images, listing.source, `has only one class folder, ${train.classes.join()}`)
  notices.push(...train.notices, ...alikeNames(train.classes))
  const { faults } = images
  const testName = hasHalves ? testHalves.find((name) => top.folders.has(name)) : undefined
  if (hasHalves) {
    const halves = ['train', ...(testName === undefined ? [] : [testName])]
    const outside = images.files.filter((path) => !halves.some((name) => path.startsWith(`${root}${name}/`)))
    const passed = `images of ${listing.source} lie outside of ${halves.join(' and ')} and were passed over`
    if (outside.length > 0) notices.push(`${outside.length} ${passed}: ${few(outside)}`)
  }
  if (testName === undefined) return { classes: train.classes, train, test: undefined, notices, faults }
  const test = matchClasses(labelClasses(images, `${root}${testName}/`), train.classes)
  notices.push(`the test images are those in ${root}${testName}/`, ...test.notices)
  return { classes: train.classes, train, test, notices, faults }
}

/** A test half that was listed on its own, under the class indices of the training half. Throws DATA on a class unknown there. */
export function arrangeTestHalf(
  listing: Listing,
  classes: readonly string[],
): LabelledPaths & Pick<Arrangement, 'notices' | 'faults'> {
  const { images, notices } = onlyImages(listing)
  const test = matchClasses(labelClasses(images, skipWrapper(images, [])), classes)
  return { ...test, notices: [...notices, ...test.notices], faults: images.faults }
}

interface ImageListing extends Listing {
  readonly faults: readonly Fault[]
}

/** The listing without hidden files and without files that are not images. */
function onlyImages(listing: Listing): { images: ImageListing; notices: string[] } {
  const isVisible = (path: string) => !/(^|\/)(\.|__MACOSX(\/|$))/.test(path)
  const visible = listing.files.filter(isVisible)
  const files = visible.filter((path) => imageEnding.test(path))
  const faults = (listing.faults ?? []).filter(({ name }) => isVisible(name))
  const images = { ...listing, files, folders: listing.folders.filter(isVisible), faults }
  if (files.length === 0) throw wrongTree(images, listing.source, 'holds no images')
  const others = visible.filter((path) => !imageEnding.test(path))
  const passed = `files of ${listing.source} that are not images were passed over`
  const notices = others.length > 0 ? [`${others.length} ${passed}: ${few(others)}`] : []
  if (faults.length > 0) notices.push(`${listing.source} was not listed whole: ${listFaults(faults)}`)
  return { images, notices }
}

/** The first names of a list. */
function few(names: readonly string[]): string {
  return names.slice(0, 5).join(', ') + (names.length > 5 ? ', …' : '')
}

function listFaults(faults: readonly Fault[]): string {
  const listed = faults.slice(0, 20).map(({ name, reason }) => `${name}: ${reason}`)
  return listed.join('; ') + (faults.length > listed.length ? `; and ${faults.length - listed.length} more` : '')
}

/** Warns of classes that are likely meant to be one: `Cat` and `cat`, or `cat` and `cat ` with a space behind. */
function alikeNames(classes: readonly string[]): string[] {
  const groups = new Map<string, string[]>()
  for (const name of classes) {
    const key = name.trim().normalize().toLowerCase()
    groups.set(key, [...(groups.get(key) ?? []), name])
  }
  return [...groups.values()]
    .filter((names) => names.length > 1)
    .map(
      (names) => `the classes ${names.map((name) => JSON.stringify(name)).join(' and ')} differ only in case or spaces`,
    )
}

/** What lies directly under a prefix: its folders, with the number of images anywhere inside, and the number of loose images. */
function childrenOf(listing: Listing, prefix: string): { folders: Map<string, number>; images: number } {
  const folders = new Map<string, number>()
  let images = 0
  const add = (path: string, count: number) => {
    const name = path.slice(prefix.length).split('/', 1)[0]!
    if (name !== '') folders.set(name, (folders.get(name) ?? 0) + count)
  }
  for (const path of listing.folders) if (path.startsWith(prefix)) add(path, 0)
  for (const path of listing.files) {
    if (!path.startsWith(prefix)) continue
    if (path.indexOf('/', prefix.length) === -1) images += 1
    else add(path, 1)
  }
  return { folders, images }
}

/** The prefix below folders that hold everything, as archives often have one: `photos/cat/1.jpg`, `photos/dog/1.jpg`. */
function skipWrapper(listing: Listing, stops: readonly string[], prefix = ''): string {
  const { folders, images } = childrenOf(listing, prefix)
  const [only] = folders.keys()
  if (only === undefined || folders.size > 1 || images > 0 || stops.includes(only)) return prefix
  const inside = childrenOf(listing, `${prefix}${only}/`)
  return inside.folders.size > 0 && inside.images === 0 ? skipWrapper(listing, stops, `${prefix}${only}/`) : prefix
}

interface Half extends LabelledPaths {
  /** How an error names the folder of class folders. */
  readonly where: string
  readonly classes: readonly string[]
  readonly notices: readonly string[]
}

/** Takes every folder under the prefix for a class. */
function labelClasses(listing: ImageListing, prefix: string): Half {
  const where = prefix === '' ? listing.source : `${listing.source}/${prefix.slice(0, -1)}`
  const { folders, images } = childrenOf(listing, prefix)
  if (folders.size === 0) throw wrongTree(listing, where, `holds ${images} images but no class folders`)
  const empty = [...folders].filter(([, count]) => count === 0).map(([name]) => name)
  if (empty.length > 0) throw wrongTree(listing, where, `has class folders without images: ${empty.sort().join(', ')}`)
  const classes = [...folders.keys()].sort()
  const labelOf = new Map(classes.map((name, label) => [name, label]))
  const inside = (path: string) => path.startsWith(prefix) && path.indexOf('/', prefix.length) !== -1
  const paths = listing.files.filter(inside).sort()
  const labels = Int32Array.from(paths, (path) => labelOf.get(path.slice(prefix.length).split('/', 1)[0]!)!)
  const loose = listing.files.filter((path) => path.startsWith(prefix) && !inside(path))
  const passed = `images of ${where} lie in no class folder and were passed over`
  const notices = loose.length > 0 ? [`${loose.length} ${passed}: ${few(loose)}`] : []
  return { where, classes, paths, labels, root: prefix, notices }
}

/** Gives a test half the class indices of the training half. */
function matchClasses(test: Half, classes: readonly string[]): Half {
  const labelOf = test.classes.map((name) => {
    const label = classes.indexOf(name)
    if (label >= 0) return label
    const guess = nearest(name, classes)
    const hint = guess === undefined ? 'both halves need the same class folders' : `did you mean ${guess}?`
    throw new AutoprogError('DATA', `${test.where} has the class ${name}, which the training half has not`, { hint })
  })
  const missing = classes.filter((name) => !test.classes.includes(name))
  const notices =
    missing.length > 0 ? [...test.notices, `${test.where} lacks the classes ${missing.join(', ')}`] : test.notices
  return { ...test, classes, labels: test.labels.map((own) => labelOf[own]!), notices }
}

function wrongTree({ faults }: ImageListing, where: string, what: string): AutoprogError {
  const hint = 'give a folder or .tar that holds CLASS/image.jpg, or train/CLASS/image.jpg and val/CLASS/image.jpg'
  const rest = faults.length > 0 ? `; it was not listed whole: ${listFaults(faults)}` : ''
  return new AutoprogError('DATA', `${where} ${what}${rest}`, { hint })
}
