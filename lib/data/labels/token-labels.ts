/** Labels of every token of a training image: its label map, found by the image's name (Jiang et al., 2021). */
import { AutoprogError } from '../../errors.js'
import { forEachConcurrently } from '../concurrent.js'
import type { Split } from '../source/dataset.js'
import { matchNames } from '../source/image-names.js'
import { type MapShape, noMaps, openSource, type Source } from './label-files.js'

/** Of one image or more. */
export interface Labels {
  /** ((B,) K, h, w) */
  readonly classes: Int32Array
  readonly scores: Float32Array
}

export interface LabelMaps {
  readonly shape: MapShape
  /** Whether scores are logits instead of probabilities. */
  readonly logits: boolean
  /** How many of the split's images have a map; the class label stands in for the others'. */
  readonly found: number
  /** Things to tell the user once. */
  readonly notices: readonly string[]
  /** The map of image `index`. Rejects with DATA where it cannot be read or is none. */
  at(index: number): Promise<Labels>
  /** Those of several images, side by side. */
  batch(indices: Int32Array): Promise<Labels>
  /** Releases files; harmless when repeated. */
  close(): Promise<void>
}

export interface LabelledData {
  /** The training half. */
  readonly split: Split
  readonly classes: readonly string[]
}

const lanes = 16
/** Maps that are looked at when they are opened. */
const sampled = 16

/** Logit of the one class of an image without a map, where maps hold logits: all others have e^-40 together. */
const certain = 40

/** Throws DATA where there are no maps, they are damaged, for other images, or of other classes. */
export async function openLabelMaps(path: string, { split, classes }: LabelledData): Promise<LabelMaps> {
  const source = await openSource(path)
  try {
    checkClasses(path, source, classes)
    const places = await matchNames(split, source.names)
    const found = places.reduce((count, place) => count + (place >= 0 ? 1 : 0), 0)
    if (found === 0) throw otherImages(path, source, split)
    const size = source.shape[0] * source.shape[1] * source.shape[2]
    const logits = await holdsLogits(source, places, classes.length)
    const missing = split.length - found
    const place = async (index: number, into: Labels, offset: number) => {
      const at = places[index]!
      if (at < 0) {
        into.classes.fill(split.labels[index]!, offset, offset + size)
        into.scores.fill(logits ? certain : 1, offset, offset + size / source.shape[0])
        return
      }
      const map = await source.read(at)
      checkMap(source, at, map, classes.length, logits)
      into.classes.set(map.classes, offset)
      into.scores.set(map.scores, offset)
    }
    const empty = (count: number): Labels => ({
      classes: new Int32Array(count * size),
      scores: new Float32Array(count * size),
    })
    return {
      shape: source.shape,
      logits,
      found,
      notices:
        missing === 0
          ? []
          : [`${missing} of ${split.length} training images have no label map in ${path}: their class label stands in`],
      async at(index) {
        const labels = empty(1)
        await place(index, labels, 0)
        return labels
      },
      async batch(indices) {
        const labels = empty(indices.length)
        await forEachConcurrently(indices.length, lanes, (i) => place(indices[i]!, labels, i * size))
        return labels
      },
      close: source.close,
    }
  } catch (error) {
    await source.close()
    throw error
  }
}

/** Class labels in place of maps, one cell each: what tokens are trained on without any. */
export function classLabelMaps({ labels }: Split): LabelMaps {
  const batch = async (indices: Int32Array): Promise<Labels> => ({
    classes: indices.map((index) => labels[index]!),
    scores: new Float32Array(indices.length).fill(1),
  })
  return {
    ...{ shape: [1, 1, 1], logits: false, found: 0 },
    notices: ["no label maps: tokens are labelled by their image's class"],
    at: (index) => batch(Int32Array.of(index)),
    batch,
    async close() {},
  }
}

function checkClasses(path: string, { metadata }: Source, classes: readonly string[]): void {
  if (metadata.classes === undefined) return
  const hint = 'make maps of this dataset with autoprog annotate'
  let theirs: unknown
  try {
    theirs = JSON.parse(metadata.classes)
  } catch {}
  if (!Array.isArray(theirs) || !theirs.every((name) => typeof name === 'string'))
    throw noMaps(path, 'the names of its classes are no JSON list')
  if (theirs.length !== classes.length)
    throw new AutoprogError(
      'DATA',
      `The label maps in ${path} are of ${theirs.length} classes, and the dataset has ${classes.length}`,
      { hint },
    )
  const other = classes.findIndex((name, label) => name.normalize() !== theirs[label]!.normalize())
  if (other >= 0)
    throw new AutoprogError(
      'DATA',
      `The label maps in ${path} are of other classes: class ${other} is ${theirs[other]} there and ${classes[other]} here`,
      { hint },
    )
}

/** A few maps, spread over all, decide where nothing says so. */
async function holdsLogits(source: Source, places: Int32Array, classCount: number): Promise<boolean> {
  const present = places.filter((place) => place >= 0)
  const some = Array.from(
    { length: Math.min(sampled, present.length) },
    (_, i) => present[Math.floor((i * present.length) / Math.min(sampled, present.length))]!,
  )
  const { scores: said } = source.metadata
  let logits = said === 'logits'
  for (const place of some) {
    const map = await source.read(place)
    checkMap(source, place, map, classCount, said !== 'probabilities')
    if (said === undefined) logits ||= !areProbabilities(map.scores, source.shape)
  }
  return logits
}

/** Scores rounded to 16 bits may add up to a little more than 1. */
const tolerance = 0.01

function areProbabilities(scores: ArrayLike<number>, [best, height, width]: MapShape): boolean {
  const cells = height * width
  for (let cell = 0; cell < cells; cell++) {
    let sum = 0
    for (let k = 0; k < best; k++) {
      const score = scores[k * cells + cell]!
      if (score < 0) return false
      sum += score
    }
    if (sum > 1 + tolerance) return false
  }
  return true
}

function checkMap(
  source: Source,
  place: number,
  { scores, classes }: { scores: ArrayLike<number>; classes: ArrayLike<number> },
  classCount: number,
  logits: boolean,
): void {
  const wrong = (what: string, hint = 'the file may be damaged: copy it anew, or make it again') =>
    new AutoprogError('DATA', `A label map, ${source.nameOf(place)}, ${what}`, { hint })
  for (let i = 0; i < classes.length; i++) {
    const label = classes[i]!
    if (!(Number.isInteger(label) && label >= 0 && label < classCount))
      throw wrong(`names class ${label}, and the dataset has ${classCount}`, 'the maps may be of another dataset')
    if (!Number.isFinite(scores[i])) throw wrong(`holds the score ${scores[i]}`)
  }
  if (!logits && !areProbabilities(scores, source.shape)) throw wrong('holds scores that are no probabilities')
}

function otherImages(path: string, { names }: Source, split: Split): AutoprogError {
  return new AutoprogError(
    'DATA',
    `${path} holds label maps for other images: none of the ${split.length} training images has one`,
    { hint: `it has maps of ${names[0]} and the like, and the dataset images like ${split.nameOf(0)}` },
  )
}
