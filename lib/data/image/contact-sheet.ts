/** A picture of what training sees: a few images, each beside several draws of its augmentation. */
import sharp, { type OverlayOptions } from 'sharp'
import { AutoprogError } from '../../errors.js'
import { Purpose, permutation } from '../../random.js'
import type { Dataset, Image, Split } from '../source/dataset.js'
import { asBrokenImage } from './fault.js'
import { transformImages } from './operations.js'
import { type Augmentation, trainingPlan } from './transform.js'

export interface SheetOptions {
  readonly augmentation: Augmentation
  /** Side of a training image, in pixels. */
  readonly size: number
  /** Chooses the images and what is drawn for them. */
  readonly seed: number
}

const rows = 8
const draws = 6
const gap = 8
const rowGap = 14
const margin = 24
const lineHeight = 26
const fontSize = 15
/** Neither the black nor, inverted, the white that shifts leave at an image's edges. */
const paper = '#e6e6e6'
/** Smaller images are enlarged, by a whole number, towards this side. */
const legible = 128

/** PNG, with a row an image: the picture, then six draws of what training makes of it. Throws DATA where no image can be decoded. */
export async function contactSheet(dataset: Dataset, { augmentation, size, seed }: SheetOptions): Promise<Buffer> {
  const chosen = await choose(dataset, seed)
  const cell = size * Math.max(1, Math.floor(legible / size))
  const left = (column: number) => margin + column * (cell + gap) + (column > 0 ? gap : 0)
  const top = (row: number) => margin + lineHeight + row * (cell + lineHeight + rowGap)
  const overlays: OverlayOptions[] = []
  const texts: Text[] = [
    { x: left(0), y: margin + fontSize, text: 'picture', kind: 'heading' },
    { x: left(1), y: margin + fontSize, text: `as training sees it, at ${size} x ${size} pixels`, kind: 'heading' },
  ]
  for (const [row, { index, image, name, label }] of chosen.entries()) {
    overlays.push({ input: await fitted(image, cell), left: left(0), top: top(row) })
    const plans = Array.from({ length: draws }, (_, epoch) =>
      trainingPlan(image, size, augmentation, {}, { seed, epoch, sample: index }),
    )
    const stride = size * size * image.channels
    const made = new Uint8Array(draws * stride)
    const side = { height: size, width: size }
    await transformImages(Array(draws).fill(image), image.channels, plans, side, made)
    for (let draw = 0; draw < draws; draw++) {
      const pixels = made.subarray(draw * stride, (draw + 1) * stride)
      const input = await fitted({ pixels, ...side, channels: image.channels }, cell)
      overlays.push({ input, left: left(1 + draw), top: top(row) })
    }
    const y = top(row) + cell + fontSize + 3
    texts.push({ x: left(0), y, text: dataset.classes[label]!, kind: 'class', after: name })
  }
  const width = left(1 + draws) - gap + margin
  const height = top(chosen.length) - rowGap + margin
  overlays.push({ input: Buffer.from(lettering(texts, width, height)), left: 0, top: 0 })
  return sharp({ create: { width, height, channels: 3, background: paper } })
    .composite(overlays)
    .png({ compressionLevel: 9 })
    .toBuffer()
}

interface Chosen {
  readonly index: number
  readonly image: Image
  readonly name: string
  readonly label: number
}

/** Training images that can be decoded: one of each class in turn, of classes drawn by the seed where there are more than rows. */
async function choose({ train, classes, name }: Dataset, seed: number): Promise<Chosen[]> {
  const drawn = classes.length > rows ? permutation(classes.length, seed, Purpose.order, 0) : classes.keys()
  const queues = [...drawn].slice(0, rows).map((label) => ofClass(train, label, seed))
  queues.sort((a, b) => a.label - b.label)
  const chosen: Chosen[] = []
  for (let turn = 0, empty = 0; chosen.length < rows && empty < queues.length; turn++) {
    const found = await nextGood(train, queues[turn % queues.length]!)
    empty = found === undefined ? empty + 1 : 0
    if (found !== undefined) chosen.push(found)
  }
  if (chosen.length === 0) throw new AutoprogError('DATA', `None of the training images of ${name} can be read`)
  return chosen.sort((a, b) => a.label - b.label)
}

interface Queue {
  readonly label: number
  readonly indices: Iterator<number>
}

function ofClass({ labels }: Split, label: number, seed: number): Queue {
  const members: number[] = []
  labels.forEach((each, index) => {
    if (each === label) members.push(index)
  })
  const order = permutation(members.length, seed, Purpose.order, 1 + label)
  return { label, indices: Array.from(order, (position) => members[position]!).values() }
}

async function nextGood(split: Split, { label, indices }: Queue): Promise<Chosen | undefined> {
  for (let next = indices.next(); next.done !== true; next = indices.next()) {
    const index = next.value
    const image = await split.load(index).catch((error) => void asBrokenImage(error))
    if (image !== undefined) return { index, image, label, name: split.nameOf(index) }
  }
  return undefined
}

/** A cell of `side` x `side` pixels that shows the whole image; enlarged, pixels stay squares. */
async function fitted({ pixels, height, width, channels }: Image, side: number): Promise<Buffer> {
  const kernel = Math.max(width, height) < side ? 'nearest' : 'lanczos3'
  return sharp(pixels, { raw: { height, width, channels } })
    .toColourspace('srgb')
    .resize(side, side, { fit: 'contain', kernel, background: paper })
    .png({ compressionLevel: 1 })
    .toBuffer()
}

interface Text {
  readonly x: number
  readonly y: number
  readonly text: string
  readonly kind: 'heading' | 'class'
  /** A file's name, whose beginning gives way where there is no room. */
  readonly after?: string
}

function lettering(texts: readonly Text[], width: number, height: number): string {
  const room = Math.floor((width - 2 * margin) / (0.62 * fontSize))
  const line = ({ x, y, text, kind, after }: Text) => {
    const label = shorten(text, room >> 1)
    const name = after === undefined ? '' : shorten(after, room - label.length - 2)
    const weight = kind === 'class' ? ' font-weight="bold" fill="#111"' : ''
    return `<text x="${x}" y="${y}" xml:space="preserve"><tspan${weight}>${escapeXml(label)}</tspan>  ${escapeXml(name)}</text>`
  }
  const style = `font-family="sans-serif" font-size="${fontSize}" fill="#555"`
  const size = `width="${width}" height="${height}"`
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size}><g ${style}>${texts.map(line).join('')}</g></svg>`
}

const shorten = (text: string, room: number) => {
  const characters = [...text]
  return characters.length <= room ? text : `…${characters.slice(characters.length - Math.max(1, room - 1)).join('')}`
}

/** XML without the characters that it does not allow. */
const escapeXml = (text: string) =>
  text.replace(/[\p{Cc}\p{Cs}\ufffe\uffff]/gu, '?').replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`)
