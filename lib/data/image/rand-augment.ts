/** RandAugment (Cubuk et al., 2020) as timm's `rand-m9-mstd0.5-inc1` draws it, and torchvision's colour jitter. */
import type { Draws } from './draws.js'
import type { Filter, ImageOp } from './operations.js'

/** What fills an image where an operation moved it away: the mean of the data, which normalises to nought. */
export type Fill = readonly [number, number, number]

export interface RandAugment {
  /** Mean magnitude of an operation, 0 to 10. */
  readonly magnitude: number
  /** Standard deviation of the magnitude. */
  readonly deviation: number
  /** Operations an image, each applied with a probability of one half. */
  readonly layers: number
}

interface Settings {
  readonly width: number
  readonly height: number
  readonly filter: Filter
  readonly fill: Fill
}

/** An operation at a strength from 0 to 1. `signed` ones are as likely to go the other way: `sign` is then 1 or -1. */
interface Operation {
  readonly name: string
  readonly signed: boolean
  make(strength: number, sign: number, settings: Settings): ImageOp
}

const plain = (name: string, op: 'autoContrast' | 'equalize' | 'invert'): Operation => ({
  name,
  signed: false,
  make: () => ({ op }),
})

const enhance = (name: string, op: 'color' | 'contrast' | 'brightness' | 'sharpness'): Operation => ({
  name,
  signed: true,
  make: (strength, sign) => ({ op, factor: Math.max(0.1, 1 + sign * 0.9 * strength) }),
})

type Matrix = Extract<ImageOp, { op: 'affine' }>['matrix']

const move = (name: string, matrixOf: (amount: number, settings: Settings) => Matrix): Operation => ({
  name,
  signed: true,
  make: (strength, sign, settings) => ({
    op: 'affine',
    matrix: matrixOf(sign * strength, settings),
    filter: settings.filter,
    fill: settings.fill,
  }),
})

export const operations: readonly Operation[] = [
  plain('AutoContrast', 'autoContrast'),
  plain('Equalize', 'equalize'),
  plain('Invert', 'invert'),
  move('Rotate', (amount, { width, height }) => rotation(30 * amount, width, height)),
  {
    name: 'PosterizeIncreasing',
    signed: false,
    make: (strength) => ({ op: 'posterize', bits: 4 - Math.trunc(4 * strength) }),
  },
  {
    name: 'SolarizeIncreasing',
    signed: false,
    make: (strength) => ({ op: 'solarize', threshold: 256 - Math.min(256, Math.trunc(256 * strength)) }),
  },
  {
    name: 'SolarizeAdd',
    signed: false,
    make: (strength) => ({ op: 'solarizeAdd', addition: Math.min(128, Math.trunc(110 * strength)) }),
  },
  enhance('ColorIncreasing', 'color'),
  enhance('ContrastIncreasing', 'contrast'),
  enhance('BrightnessIncreasing', 'brightness'),
  enhance('SharpnessIncreasing', 'sharpness'),
  move('ShearX', (amount) => [1, 0.3 * amount, 0, 0, 1, 0]),
  move('ShearY', (amount) => [1, 0, 0, 0.3 * amount, 1, 0]),
  move('TranslateXRel', (amount, { width }) => [1, 0, 0.45 * amount * width, 0, 1, 0]),
  move('TranslateYRel', (amount, { height }) => [1, 0, 0, 0, 1, 0.45 * amount * height]),
]

/** Pillow's matrix of a rotation about the centre, counter-clockwise, with its rounding. */
function rotation(degrees: number, width: number, height: number): Matrix {
  const turned = degrees - 360 * Math.floor(degrees / 360)
  const angle = (-turned * Math.PI) / 180
  const round = (value: number) => Number(value.toFixed(15))
  const [cos, sin] = [round(Math.cos(angle)), round(Math.sin(angle))]
  const [x, y] = [width / 2, height / 2]
  return [cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y]
}

/** The operations drawn for one image of width x height pixels; at magnitude 0 they do hardly anything. */
export function randAugment(options: RandAugment, settings: Settings, draws: Draws): ImageOp[] {
  const { magnitude, deviation, layers } = options
  const plan: ImageOp[] = []
  for (let layer = 0; layer < layers; layer++) {
    const operation = operations[draws.below(operations.length)]!
    if (draws.unit() >= 0.5) continue
    const drawn = deviation > 0 ? draws.normal(magnitude, deviation) : magnitude
    const strength = Math.min(10, Math.max(0, drawn)) / 10
    const sign = operation.signed && draws.unit() < 0.5 ? -1 : 1
    plan.push(operation.make(strength, sign, settings))
  }
  return plan
}

/** Brightness, contrast and saturation by factors uniform in [1 - amount, 1 + amount], in random order. */
export function colorJitter(amount: number, draws: Draws): ImageOp[] {
  const left: ('brightness' | 'contrast' | 'color')[] = ['brightness', 'contrast', 'color']
  const plan: ImageOp[] = []
  while (left.length > 0) {
    const [op] = left.splice(draws.below(left.length), 1)
    plan.push({ op: op!, factor: draws.between(Math.max(0, 1 - amount), 1 + amount) })
  }
  return plan
}
