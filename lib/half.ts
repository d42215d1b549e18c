/** 16-bit floats (IEEE 754 binary16, and bfloat16), which Node's typed arrays lack. */

const bits = new Uint32Array(1)
const value = new Float32Array(bits.buffer)

let table: Float32Array | undefined

/** What each of the 65,536 patterns stands for. */
function floats(): Float32Array {
  table ??= Float32Array.from({ length: 2 ** 16 }, (_, half) => {
    const sign = half >>> 15 ? -1 : 1
    const [exponent, mantissa] = [(half >>> 10) & 31, half & 1023]
    if (exponent === 31) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
    return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1 + mantissa / 1024) * 2 ** (exponent - 15)
  })
  return table
}

export function fromHalves(halves: Uint16Array): Float32Array {
  const known = floats()
  const result = new Float32Array(halves.length)
  for (let i = 0; i < halves.length; i++) result[i] = known[halves[i]!]!
  return result
}

export function toHalves(numbers: Float32Array): Uint16Array {
  const result = new Uint16Array(numbers.length)
  for (let i = 0; i < numbers.length; i++) result[i] = toHalf(numbers[i]!)
  return result
}

/** To the nearest, halves to the even one; beyond the range infinity. */
function toHalf(number: number): number {
  value[0] = number
  const word = bits[0]!
  const sign = (word >>> 16) & 0x8000
  const exponent = ((word >>> 23) & 255) - 112
  if (exponent >= 31) return sign | 0x7c00 | (exponent === 143 && (word & 0x7fffff) !== 0 ? 0x200 : 0)
  if (exponent < -10) return sign
  const mantissa = (word & 0x7fffff) | (exponent > 0 ? 0 : 0x800000)
  const shift = exponent > 0 ? 13 : 14 - exponent
  const kept = mantissa >>> shift
  const [rest, middle] = [mantissa & (2 ** shift - 1), 2 ** (shift - 1)]
  const raised = rest > middle || (rest === middle && (kept & 1) === 1) ? 1 : 0
  return sign | ((Math.max(0, exponent) << 10) + kept + raised) // a carry moves on into the exponent
}

/** bfloat16 is the upper half of a 32-bit float. */
export function fromBfloats(bfloats: Uint16Array): Float32Array {
  return new Float32Array(Uint32Array.from(bfloats, (bfloat) => bfloat << 16).buffer)
}
