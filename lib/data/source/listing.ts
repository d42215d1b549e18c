/** A tree of files by their names, and where in it folders of images lie. */
import { AutoprogError, printable } from '../../errors.js'
import { plural } from '../../report/format.js'
import type { Fault } from '../image/fault.js'
import { conversionHint, imageEnding, unreadFormat } from '../image/format.js'
import { halfOf } from './halves.js'

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

export interface ImageListing extends Listing {
  readonly faults: readonly Fault[]
  /** What is said of images of formats that are not read; empty where there are none. */
  readonly unread: string
}

/** The listing without hidden files and without files that are not images. */
export function onlyImages(listing: Listing): { images: ImageListing; notices: string[] } {
  const isVisible = (path: string) => !/(^|\/)(\.|__MACOSX(\/|$))/.test(path)
  const visible = listing.files.filter(isVisible)
  const files = visible.filter((path) => imageEnding.test(path))
  const faults = (listing.faults ?? []).filter(({ name }) => isVisible(name))
  const rest = visible.filter((path) => !imageEnding.test(path))
  const unread = describeUnread(rest)
  const images = { ...listing, files, folders: listing.folders.filter(isVisible), faults, unread }
  if (files.length === 0) throw wrongTree(images, listing.source, 'holds no images')
  const others = rest.filter((path) => unreadFormat(path) === undefined)
  const notices = passedOver(listing.source, 'no images', others, 'file')
  if (unread !== '') notices.push(`passed over in ${listing.source}: ${unread}; ${conversionHint}`)
  if (faults.length > 0) notices.push(`${listing.source} was not listed whole: ${listFaults(faults)}`)
  return { images, notices }
}

/** "3 images of formats that are not read (HEIC: a.heic, …)"; empty where there are none. */
function describeUnread(paths: readonly string[]): string {
  const byFormat = new Map<string, string[]>()
  for (const path of paths) {
    const format = unreadFormat(path)
    if (format !== undefined) byFormat.set(format, [...(byFormat.get(format) ?? []), path])
  }
  const count = [...byFormat.values()].reduce((sum, { length }) => sum + length, 0)
  const formats = [...byFormat].map(([format, names]) => `${format}: ${few(names)}`)
  return count === 0 ? '' : `${plural(count, 'image')} of formats that are not read (${formats.join('; ')})`
}

/** "passed over in photos, no images: 2 files (a.txt, b.csv)"; nothing where there are none. */
export function passedOver(source: string, why: string, paths: readonly string[], one = 'image'): string[] {
  return paths.length === 0 ? [] : [`passed over in ${source}, ${why}: ${plural(paths.length, one)} (${few(paths)})`]
}

/** The first names of a list. */
export function few(names: readonly string[]): string {
  return names.slice(0, 5).join(', ') + (names.length > 5 ? ', …' : '')
}

function listFaults(faults: readonly Fault[]): string {
  const listed = faults.slice(0, 20).map(({ name, reason }) => `${name}: ${reason}`)
  return listed.join('; ') + (faults.length > listed.length ? `; and ${faults.length - listed.length} more` : '')
}

export interface Folder {
  /** Images anywhere inside, and directly inside. */
  images: number
  loose: number
  /** Names of the folders directly inside, composed (NFC). */
  readonly folders: Set<string>
}

export interface Children {
  readonly folders: ReadonlyMap<string, Folder>
  readonly loose: number
}

/** What lies directly under a prefix. */
export function childrenOf(listing: Listing, prefix: string): Children {
  const folders = new Map<string, Folder>()
  let loose = 0
  const add = (path: string, isImage: boolean) => {
    if (!path.startsWith(prefix)) return
    const [name, second, third] = path.slice(prefix.length).split('/', 3)
    if (second === undefined && isImage) loose += 1
    if (name === '' || (second === undefined && isImage)) return
    const folder = folders.get(name!) ?? { images: 0, loose: 0, folders: new Set() }
    folders.set(name!, folder)
    if (isImage) folder.images += 1
    if (isImage && third === undefined) folder.loose += 1
    else if (second !== undefined) folder.folders.add(second.normalize())
  }
  for (const path of listing.folders) add(path, false)
  for (const path of listing.files) add(path, true)
  return { folders, loose }
}

/** Folders around everything that are looked through. */
const wrappers = 16

/** The prefix below folders that hold everything, as archives often have one: `photos/cat/1.jpg`, `photos/dog/1.jpg`. */
export function skipWrapper(listing: Listing, stopsAt: (name: string) => boolean = () => false): string {
  let prefix = ''
  for (let depth = 0; depth < wrappers; depth++) {
    const { folders, loose } = childrenOf(listing, prefix)
    const [only] = folders
    if (only === undefined || folders.size > 1 || loose > 0) break
    const [name, inside] = only
    if (stopsAt(name) || inside.folders.size === 0 || inside.loose > 0) break
    prefix += `${name}/`
  }
  return prefix
}

/** Some archives unpack to `seg_train/seg_train/CLASS`. */
export function skipSameHalf(listing: Listing, prefix: string, half: string): string {
  const { folders, loose } = childrenOf(listing, prefix)
  const [only, another] = folders.keys()
  const isSame = only !== undefined && another === undefined && loose === 0 && halfOf(only)?.half === halfOf(half)?.half
  return isSame ? `${prefix}${only}/` : prefix
}

/** In the order of the composed names (NFC), whichever form the file system has. */
export function sortedNames(names: readonly string[]): string[] {
  if (names.every((name) => name === name.normalize())) return names.toSorted()
  const composed = names.map((name) => ({ name, key: name.normalize() }))
  return composed
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.name < b.name ? -1 : 1))
    .map(({ name }) => name)
}

/** The error of a tree that is not laid out as it should be. */
export function wrongTree({ faults, unread }: ImageListing, where: string, what: string): AutoprogError {
  const layout = 'give a folder or .tar that holds CLASS/image.jpg, or train/CLASS/image.jpg and val/CLASS/image.jpg'
  const hint = unread === '' ? layout : `convert those images to PNG or JPEG; ${layout}`
  const passed = unread === '' ? '' : `; it holds ${unread}`
  const rest = faults.length > 0 ? `; it was not listed whole: ${listFaults(faults)}` : ''
  return new AutoprogError('DATA', printable(`${where} ${what}${passed}${rest}`), { hint })
}
