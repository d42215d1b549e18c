/** How a tree of files becomes a labelled dataset: a folder per class, with or without a training and a test half above them. */
import { AutoprogError, nearest } from '../../errors.js'
import type { Fault } from '../image/fault.js'
import type { LoadOptions } from './dataset.js'
import { findHalves, type HalfName, halfOf, heldOutHalves } from './halves.js'
import {
  type Children,
  childrenOf,
  few,
  type ImageListing,
  type Listing,
  onlyImages,
  passedOver,
  skipSameHalf,
  skipWrapper,
  sortedNames,
  wrongTree,
} from './listing.js'

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
  /** Undefined unless one was asked for and the tree has one beside its test half. */
  readonly validation?: LabelledPaths | undefined
  /** Undefined where the tree has no test half. */
  readonly test: LabelledPaths | undefined
  readonly notices: readonly string[]
  /** Those of the listing that are not hidden. */
  readonly faults: readonly Fault[]
}

/**
 * Finds `CLASS/…`, or `train/CLASS/…` beside `val/CLASS/…` or `test/CLASS/…` under these or other usual names, under the tree's
 * root or under the one folder that holds everything. Of val and test val is the half that is held out, unless a validation part is
 * asked for: then it is that, and test is held out. With halves 'all' there may be a test half alone, or a single class. Throws DATA
 * where that is not what the tree holds.
 */
export function arrangeClassFolders(
  listing: Listing,
  { halves, validation: share = 0 }: Pick<LoadOptions, 'halves' | 'validation'> = {},
): Arrangement {
  const { images, notices } = onlyImages(listing)
  const root = skipWrapper(images, (name) => halfOf(name)?.rest === '')
  const top = childrenOf(images, root)
  const chosen = chooseHalves(images, root, top, { testAlone: halves === 'all', threeParts: share > 0 })
  const { train: trainName, validation: validationName, test: testName, others } = chosen
  notices.push(...others)
  if (trainName === undefined && testName === undefined) notices.push(...likeHalves(images, top))
  const insideOf = (name: string) => skipSameHalf(images, `${root}${name}/`, name)
  const test = testName === undefined ? undefined : labelClasses(images, insideOf(testName))
  if (trainName === undefined && test !== undefined) {
    const train = { paths: [], labels: new Int32Array() }
    return { classes: test.classes, train, test, notices: [...notices, ...test.notices], faults: images.faults }
  }
  const train = labelClasses(images, trainName === undefined ? root : insideOf(trainName))
  const { classes } = train
  if (classes.length < 2 && halves !== 'all')
    throw wrongTree(images, listing.source, `has only one class folder, ${classes.join()}`)
  notices.push(...train.notices, ...alikeNames(classes))
  const { faults } = images
  if (test === undefined) return { classes, train, test, notices, faults }
  const matched = matchClasses(test, classes)
  notices.push(`the test images are those in ${root}${testName}/`, ...matched.notices)
  if (validationName === undefined) return { classes, train, test: matched, notices, faults }
  const validation = matchClasses(labelClasses(images, insideOf(validationName)), classes)
  notices.push(`those in ${root}${validationName}/ choose the best average of the weights`, ...validation.notices)
  return { classes, train, validation, test: matched, notices, faults }
}

interface ChosenHalves {
  readonly train?: string
  readonly validation?: string
  readonly test?: string
  /** Notices of what is in neither. */
  readonly others: readonly string[]
}

/** Which of the folders under the root are halves, and which of several for testing is taken; none where all are classes. */
function chooseHalves(
  images: ImageListing,
  root: string,
  top: Children,
  { testAlone, threeParts }: { testAlone: boolean; threeParts: boolean },
): ChosenHalves {
  const names = [...top.folders.keys()]
  const inside = (name: string) => top.folders.get(name)!
  const { source } = images
  if (names.length > 0 && names.every((name) => ['val', 'test'].includes(halfOf(name)?.half ?? ''))) {
    const [test] = heldOutHalves.flatMap((half) => names.filter((name) => halfOf(name)!.half === half))
    if (testAlone) return { test: test!, others: restNotices(images, root, [test!]) }
    throw wrongTree(images, source, `has ${names.join(' and ')} but no train`)
  }
  const found = findHalves(names)
  if (found === undefined) return { others: [] }
  const { train } = found
  // A class may be called train; a loose image must not make one of a half.
  const beside = found.heldOut.length > 0
  const isHalf =
    inside(train).loose === 0
      ? beside || names.length === 1 || /^train$/i.test(train)
      : beside && inside(train).folders.size > 0
  if (!isHalf) return { others: [] }
  // What is to be predicted in a contest has no classes.
  const unlabelled = found.heldOut.filter((name) => halfOf(name)!.half === 'test' && inside(name).folders.size === 0)
  const labelled = found.heldOut.filter((name) => !unlabelled.includes(name))
  const first = (half: HalfName) => labelled.find((name) => halfOf(name)!.half === half)
  const [val, ownTest] = [first('val'), first('test')]
  const three = threeParts && val !== undefined && ownTest !== undefined
  const [test, validation] = three ? [ownTest, val] : [labelled[0], undefined]
  const taken = [train, test, validation].filter((name) => name !== undefined)
  const rest = labelled.filter((name) => !taken.includes(name))
  const others = [
    ...unlabelled.map(
      (name) => `the ${inside(name).images} images in ${root}${name}/ lie in no class folders: passed over`,
    ),
    ...rest.map(
      (name) => `the ${inside(name).images} images in ${root}${name}/ are left alone: they neither train nor test`,
    ),
    ...restNotices(images, root, [...taken, ...unlabelled, ...rest]),
  ]
  return { train, ...(validation !== undefined && { validation }), ...(test !== undefined && { test }), others }
}

function restNotices({ files, source }: Listing, root: string, taken: readonly string[]): string[] {
  const outside = files.filter((path) => !taken.some((name) => path.startsWith(`${root}${name}/`)))
  return passedOver(source, `outside of ${taken.join(' and ')}`, outside)
}

/** Folders that all hold the same folders may be halves of the data under names that we do not know: an error where they sound like it. */
function likeHalves(images: ImageListing, { folders, loose }: Children): string[] {
  const [first, ...others] = [...folders]
  if (first === undefined || others.length === 0 || loose > 0) return []
  const shared = [...first[1].folders].filter((name) => others.every(([, inside]) => inside.folders.has(name)))
  if (shared.length < 2 || [...folders.values()].some((inside) => inside.loose > 0)) return []
  const names = [...folders.keys()]
  const what = `holds the folders ${few(shared)} in each of ${few(names)}`
  if (!names.some((name) => /train|test|val|eval|fold|split/i.test(name))) {
    return [
      `${images.source} ${what}, which are taken for the classes; if they are halves of the data, name them train and val`,
    ]
  }
  const hint = 'name them train and val, or give the folder of one of them'
  throw new AutoprogError('DATA', `${images.source} ${what}: these look like halves of the data, not like classes`, {
    hint,
  })
}

/** A test half that was listed on its own, under the class indices of the training half. Throws DATA on a class unknown there. */
export function arrangeTestHalf(
  listing: Listing,
  classes: readonly string[],
): LabelledPaths & Pick<Arrangement, 'notices' | 'faults'> {
  const { images, notices } = onlyImages(listing)
  const test = matchClasses(labelClasses(images, skipWrapper(images)), classes)
  return { ...test, notices: [...notices, ...test.notices], faults: images.faults }
}

/** Warns of classes that are likely meant to be one: `Cat` and `cat`, or `cat` and `cat ` with a space behind. */
function alikeNames(classes: readonly string[]): string[] {
  const groups = new Map<string, string[]>()
  for (const name of classes) {
    const key = name.trim().toLowerCase()
    groups.set(key, [...(groups.get(key) ?? []), name])
  }
  return [...groups.values()]
    .filter((names) => names.length > 1)
    .map((names) => `the classes ${quoted(names)} differ only in case or spaces`)
}

const quoted = (names: readonly string[]) => names.map((name) => JSON.stringify(name)).join(' and ')

interface Half extends LabelledPaths {
  /** How an error names the folder of class folders. */
  readonly where: string
  readonly classes: readonly string[]
  readonly notices: readonly string[]
}

/** Takes every folder under the prefix for a class; names that differ only in being composed (NFC) or not are one. */
function labelClasses(listing: ImageListing, prefix: string): Half {
  const where = prefix === '' ? listing.source : `${listing.source}/${prefix.slice(0, -1)}`
  const { folders, loose } = childrenOf(listing, prefix)
  if (folders.size === 0) throw wrongTree(listing, where, `holds ${loose} images but no class folders`)
  const counts = new Map<string, number>()
  for (const [name, { images }] of folders) counts.set(name.normalize(), (counts.get(name.normalize()) ?? 0) + images)
  const empty = [...counts].filter(([, count]) => count === 0).map(([name]) => name)
  if (empty.length > 0) throw wrongTree(listing, where, `has class folders without images: ${empty.sort().join(', ')}`)
  const classes = [...counts.keys()].sort()
  const labels = new Map(classes.map((name, label) => [name, label]))
  const labelOf = new Map([...folders.keys()].map((name) => [name, labels.get(name.normalize())!]))
  const inside = (path: string) => path.startsWith(prefix) && path.indexOf('/', prefix.length) !== -1
  const paths = sortedNames(listing.files.filter(inside))
  const outside = listing.files.filter((path) => path.startsWith(prefix) && !inside(path))
  const notices = passedOver(where, 'in no class folder', outside)
  if (counts.size < folders.size)
    notices.push(`folders of ${where} whose names differ only in Unicode's form are one class`)
  return {
    ...{ where, classes, paths, root: prefix, notices },
    labels: Int32Array.from(paths, (path) => labelOf.get(path.slice(prefix.length).split('/', 1)[0]!)!),
  }
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
