/** PBM, PGM and PPM files, plain and raw (netpbm's pbm(5), pgm(5) and ppm(5)). */
import { type Encoded, forEachRow } from './convert.js'

/** Throws on what is damaged. */
export function openPortableMap(bytes: Uint8Array): Encoded {
  const kind = bytes[1]! - 48
  const isPlain = kind <= 3
  const isBits = kind === 1 || kind === 4
  const channels = kind === 3 || kind === 6 ? 3 : 1
  const copies = 3 / channels
  const tokens = createTokens(bytes, 2)
  const [width, height] = [tokens.next(), tokens.next()]
  const most = isBits ? 1 : tokens.next()
  if (Number.isNaN(width + height + most)) throw new Error('its header does not state width, height and largest value')
  if (!(width > 0 && height > 0 && most > 0 && most <= 0xffff)) {
    throw new Error(`its header states ${width} x ${height} pixels of values up to ${most}`)
  }
  const start = tokens.at() + 1
  const perRow = width * channels
  const stride = isBits ? Math.ceil(width / 8) : perRow * (most > 255 ? 2 : 1)

  /** One value, in order from the first on. */
  function sampleAt(y: number, i: number): number {
    if (isPlain) return isBits ? 1 - tokens.digit() : tokens.next()
    const row = start + y * stride
    if (isBits) return 1 - ((bytes[row + (i >> 3)]! >> (7 - (i & 7))) & 1)
    return most > 255 ? bytes[row + 2 * i]! * 256 + bytes[row + 2 * i + 1]! : bytes[row + i]!
  }

  return {
    width,
    height,
    async decode() {
      if (isPlain ? bytes.length - start < perRow * height : start + stride * height > bytes.length) {
        throw new Error('it is truncated')
      }
      const pixels = new Uint8Array(width * height * 3)
      let at = 0
      await forEachRow(width, height, (y) => {
        for (let i = 0; i < perRow; i++) {
          const value = sampleAt(y, i)
          if (Number.isNaN(value)) throw new Error('it is truncated or damaged')
          const byte = Math.min(255, Math.round((value / most) * 255))
          pixels.fill(byte, at, at + copies)
          at += copies
        }
      })
      return { pixels, height, width, channels: 3 }
    },
  }
}

/** Numbers between white space and comments, NaN where there are none. */
function createTokens(bytes: Uint8Array, from: number) {
  let at = from
  const isDigit = () => bytes[at]! >= 48 && bytes[at]! <= 57
  const skip = () => {
    while (at < bytes.length && (bytes[at] === 35 || bytes[at]! <= 32)) {
      const end = bytes[at] === 35 ? bytes.indexOf(10, at) : at
      at = end < 0 ? bytes.length : end + 1
    }
  }
  return {
    at: () => at,
    next(): number {
      skip()
      if (!isDigit()) return Number.NaN
      let value = 0
      for (; isDigit(); at++) value = Math.min(value * 10 + bytes[at]! - 48, Number.MAX_SAFE_INTEGER)
      return value
    },
    /** A number of one digit, which the next may follow at once. */
    digit(): number {
      skip()
      return isDigit() ? bytes[at++]! - 48 : Number.NaN
    },
  }
}
