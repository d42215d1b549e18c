/** BMP files without compression, of 1 to 32 bits a pixel, as Pillow reads them. */
import { type Encoded, forEachRow } from './convert.js'

/** How one channel lies in a pixel's bits. */
interface Channel {
  readonly mask: number
  readonly shift: number
  readonly most: number
}

function channelOf(mask: number): Channel {
  const shift = mask === 0 ? 0 : 31 - Math.clz32(mask & -mask)
  return { mask, shift, most: Math.max(1, mask >>> shift) }
}

const fileHeader = 14
const noCompression = 0
/** Colours by masks that follow the 40 bytes of the header, or lie in a longer one; 6 has one for alpha besides. */
const byMasks = [3, 6]
const usualMasks: Record<number, readonly number[]> = { 16: [0x7c00, 0x3e0, 0x1f], 32: [0xff0000, 0xff00, 0xff] }

/** Throws on what is damaged or not read. */
export function openBitmap(bytes: Uint8Array): Encoded {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const short = () => new Error('it is truncated')
  if (bytes.length < fileHeader + 12) throw short()
  const start = view.getUint32(10, true)
  const headerSize = view.getUint32(14, true)
  const isOld = headerSize === 12
  if (!isOld && headerSize < 40) throw new Error(`its header has ${headerSize} bytes, which no known kind of BMP has`)
  if (!isOld && bytes.length < fileHeader + 40) throw short()
  const width = isOld ? view.getUint16(18, true) : view.getInt32(18, true)
  const tall = isOld ? view.getUint16(20, true) : view.getInt32(22, true)
  const bits = view.getUint16(isOld ? 24 : 28, true)
  const compression = isOld ? noCompression : view.getUint32(30, true)
  const height = Math.abs(tall)
  if (width <= 0 || height === 0) throw new Error(`its header states ${width} x ${tall} pixels`)
  const hasMasks = byMasks.includes(compression) && bits >= 16
  if (compression !== noCompression && !hasMasks) throw new Error('it is a compressed BMP, which is not read')
  if (![1, 4, 8, 16, 24, 32].includes(bits)) throw new Error(`it has ${bits} bits a pixel, which is not read`)
  const stride = Math.ceil((width * bits) / 32) * 4
  // The last row's filling is not missed.
  const missing = () => start + (height - 1) * stride + Math.ceil((width * bits) / 8) > bytes.length
  const rowAt = (y: number) => start + (tall < 0 ? y : height - 1 - y) * stride

  const maskAt = fileHeader + 40
  if (hasMasks && bytes.length < maskAt + 12) throw short()
  const masks = hasMasks ? [0, 4, 8].map((at) => view.getUint32(maskAt + at, true)) : usualMasks[bits]
  const readRow = bits <= 8 ? indexedRow() : bits === 24 ? plainRow : maskedRow((masks ?? []).map(channelOf))

  return {
    width,
    height,
    async decode() {
      if (missing()) throw short()
      const pixels = new Uint8Array(width * height * 3)
      await forEachRow(width, height, (y) => readRow(rowAt(y), pixels, y * width * 3))
      return { pixels, height, width, channels: 3 }
    },
  }

  function indexedRow() {
    const entry = isOld ? 3 : 4
    const used = isOld ? 0 : view.getUint32(46, true)
    const count = used === 0 || used > 2 ** bits ? 2 ** bits : used
    const from = fileHeader + headerSize
    const palette = new Uint8Array(256 * 3) // black where an index lies beyond the colours
    for (let i = 0; i < count && from + i * entry + 2 < bytes.length; i++)
      for (let channel = 0; channel < 3; channel++) palette[3 * i + channel] = bytes[from + i * entry + 2 - channel]!
    const perByte = 8 / bits
    return (row: number, out: Uint8Array, to: number) => {
      for (let x = 0; x < width; x++) {
        const byte = bytes[row + Math.floor(x / perByte)]!
        const index = (byte >> (8 - bits * (1 + (x % perByte)))) & (2 ** bits - 1)
        for (let channel = 0; channel < 3; channel++) out[to + 3 * x + channel] = palette[3 * index + channel]!
      }
    }
  }

  function plainRow(row: number, out: Uint8Array, to: number) {
    for (let i = 0; i < 3 * width; i += 3) {
      out[to + i] = bytes[row + i + 2]!
      out[to + i + 1] = bytes[row + i + 1]!
      out[to + i + 2] = bytes[row + i]!
    }
  }

  function maskedRow(channels: readonly Channel[]) {
    return (row: number, out: Uint8Array, to: number) => {
      for (let x = 0; x < width; x++) {
        const pixel = bits === 16 ? view.getUint16(row + 2 * x, true) : view.getUint32(row + 4 * x, true)
        for (let i = 0; i < 3; i++) {
          const { mask, shift, most } = channels[i]!
          out[to + 3 * x + i] = Math.floor((((pixel & mask) >>> shift) * 255) / most)
        }
      }
    }
  }
}
