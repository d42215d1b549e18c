/** What becomes of a picture on its way into a batch: the operations of training and of evaluation. */
import type { Box, RandomCrop } from './crops.js'
import { centreCrop, randomResizedCrop } from './crops.js'
import type { SampleAddress } from './draws.js'
import { drawsOf, Use } from './draws.js'
import type { Filter, ImageOp } from './operations.js'
import type { Fill, RandAugment } from './rand-augment.js'
import { colorJitter, randAugment } from './rand-augment.js'

export interface Augmentation extends RandomCrop {
  /** `resized`: a random part, resized; `pad`: the whole picture, shifted over black by up to `pad` pixels of its own. */
  readonly crop: 'resized' | 'pad'
  readonly pad: number
  /** Mirror half of the images. */
  readonly flip: boolean
  readonly filter: Filter
  /** Largest change of brightness, contrast and saturation; 0 for none. */
  readonly colorJitter: number
  readonly randAugment: RandAugment | null
  readonly fill: Fill
  /** Decode JPEGs at their full size, also where much less is asked for. */
  readonly exact: boolean
}

/** What adaptive regularisation changes from stage to stage. */
export interface Strength {
  /** Of RandAugment, 0 to 10; the augmentation's own where undefined. */
  readonly magnitude?: number | undefined
  /** Probability of random erasing. */
  readonly erasing: number
}

export interface Evaluation {
  /** Share of the scaled picture's shorter side that the central crop takes, in (0, 1]. */
  readonly fraction: number
  readonly filter: Filter
  /** All of the picture, made square, instead of a central crop of it. */
  readonly stretch?: boolean
}

interface Size {
  readonly width: number
  readonly height: number
}

/** Beyond this many times the crop, a picture is cropped before it is scaled: nobody needs the rest of a strip. */
const longest = 32

/** The shift and the mirror image (0 or 1) of a sample: top and left in [0, 2 pad], of the picture padded by `pad`. */
export function shiftOf({ pad, flip }: Pick<Augmentation, 'pad' | 'flip'>, address: SampleAddress) {
  const draws = drawsOf(address, Use.crop)
  const [top, left] = [draws.below(2 * pad + 1), draws.below(2 * pad + 1)]
  return { top, left, flipped: flipped(flip, address) }
}

const flipped = (flip: boolean, address: SampleAddress): 0 | 1 =>
  flip && drawsOf(address, Use.flip).unit() < 0.5 ? 1 : 0

/** From a picture to a training image of size x size pixels. */
export function trainingPlan(
  picture: Size,
  size: number,
  augmentation: Augmentation,
  { magnitude }: Partial<Strength>,
  address: SampleAddress,
): ImageOp[] {
  const { crop, pad, flip, filter, fill } = augmentation
  const plan: ImageOp[] = []
  if (crop === 'resized') {
    const box = randomResizedCrop(picture.width, picture.height, augmentation, drawsOf(address, Use.crop))
    plan.push({ op: 'crop', ...box }, resizeOp(whole(box), size, size, filter))
  } else {
    const { top, left } = shiftOf(augmentation, address)
    if (top !== pad || left !== pad)
      plan.push({ op: 'crop', left: left - pad, top: top - pad, width: picture.width, height: picture.height })
    plan.push(resizeOp(centralSquare(picture), size, size, filter))
  }
  if (flipped(flip, address) === 1) plan.push({ op: 'flip' })
  const draws = drawsOf(address, Use.recolour)
  if (augmentation.randAugment !== null) {
    const strength = { ...augmentation.randAugment, ...(magnitude !== undefined && { magnitude }) }
    plan.push(...randAugment(strength, { width: size, height: size, filter, fill }, draws))
  }
  if (augmentation.colorJitter > 0) plan.push(...colorJitter(augmentation.colorJitter, draws))
  return plan
}

/** From a picture to an evaluation image of size x size pixels, as timm does it. */
export function evaluationPlan(picture: Size, size: number, { fraction, filter, stretch }: Evaluation): ImageOp[] {
  if (stretch) return [resizeOp(whole(picture), size, size, filter)]
  const { width, height, left, top } = centreCrop(picture.width, picture.height, size, fraction)
  if (Math.max(width, height) > longest * size) {
    const square = centralSquare(picture)
    const margin = (square.width * (1 - fraction)) / 2
    const side = square.width * fraction
    return [
      resizeOp({ left: square.left + margin, top: square.top + margin, width: side, height: side }, size, size, filter),
    ]
  }
  const plan = [resizeOp(whole(picture), width, height, filter)]
  if (width !== size || height !== size) plan.push({ op: 'crop', left, top, width: size, height: size })
  return plan
}

/** Which part of a picture is seen: left, top, right and bottom as shares of its sides, and 1 where it is mirrored, else 0. */
export type Region = readonly [left: number, top: number, right: number, bottom: number, mirrored: 0 | 1]

/** What a plan leaves of the picture. What RandAugment's rotations, shears and shifts do to it is left out. */
export function regionShown(plan: readonly ImageOp[], { width, height }: Size): Region {
  // Of the image as it is when an operation's turn comes: the part of the picture that it shows, and its size.
  let [left, top, right, bottom] = [0, 0, width, height]
  let [wide, high] = [width, height]
  let mirrored: 0 | 1 = 0
  const keep = (fromX: number, fromY: number, toX: number, toY: number) => {
    const [begin, end] = mirrored ? [wide - toX, wide - fromX] : [fromX, toX]
    const [across, down] = [(right - left) / wide, (bottom - top) / high]
    ;[left, right] = [left + begin * across, left + end * across]
    ;[top, bottom] = [top + fromY * down, top + toY * down]
  }
  for (const op of plan) {
    if (op.op === 'crop') keep(op.left, op.top, op.left + op.width, op.top + op.height)
    if (op.op === 'resize') keep(...op.region)
    if (op.op === 'crop' || op.op === 'resize') [wide, high] = [op.width, op.height]
    if (op.op === 'flip') mirrored = mirrored ? 0 : 1
  }
  return [left / width, top / height, right / width, bottom / height, mirrored]
}

/** Whether the device can do all of it: shifts and mirror images of a square picture, then bilinear scaling. */
export function isForDevice({ crop, randAugment, colorJitter }: Augmentation): boolean {
  return crop === 'pad' && randAugment === null && colorJitter === 0
}

const whole = ({ width, height }: Size): Box => ({ left: 0, top: 0, width, height })

function centralSquare({ width, height }: Size): Box {
  const side = Math.min(width, height)
  return { left: (width - side) / 2, top: (height - side) / 2, width: side, height: side }
}

function resizeOp({ left, top, width, height }: Box, toWidth: number, toHeight: number, filter: Filter): ImageOp {
  return { op: 'resize', width: toWidth, height: toHeight, filter, region: [left, top, left + width, top + height] }
}
