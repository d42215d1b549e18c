/** Files of formats that sharp does not write, or not in the way that a test needs, byte by byte. */

const le16 = (...values: number[]) => values.flatMap((value) => [value & 255, (value >> 8) & 255])
const le32 = (...values: number[]) => values.flatMap((value) => [...le16(value & 0xffff), ...le16(value >>> 16)])
const be16 = (...values: number[]) => values.flatMap((value) => [(value >> 8) & 255, value & 255])

export interface BmpOptions {
  readonly width: number
  readonly height: number
  readonly bits: number
  /** Rows from the first in the file on, each filled to four bytes. */
  readonly rows: readonly (readonly number[])[]
  readonly topDown?: boolean
  readonly palette?: readonly number[]
  readonly compression?: number
  /** Behind the header of 40 bytes. */
  readonly masks?: readonly number[]
  /** The 12 bytes that came before that of 40. */
  readonly oldHeader?: boolean
}

export function bmp(options: BmpOptions): Buffer {
  const { width, height, bits, rows, topDown, palette = [], compression = 0, masks = [], oldHeader } = options
  const header = oldHeader
    ? [...le32(12), ...le16(width, height, 1, bits)]
    : [
        ...le32(40, width, topDown ? -height : height),
        ...le16(1, bits),
        ...le32(compression, 0, 0, 0, palette.length / 4, 0),
        ...le32(...masks),
      ]
  const start = 14 + header.length + palette.length
  const body = rows.flatMap((row) => [...row, ...Array((4 - (row.length % 4)) % 4).fill(0)])
  return Buffer.from([0x42, 0x4d, ...le32(start + body.length, 0, start), ...header, ...palette, ...body])
}

export interface GifOptions {
  /** Of the canvas. */
  readonly width: number
  readonly height: number
  /** Four colours. */
  readonly palette: readonly number[]
  readonly transparent?: number
  readonly frame: { left: number; top: number; width: number; height: number; indices: readonly number[] }
}

/** One frame of two bits a pixel; its table of codes is cleared before each pixel, so that all codes have three bits. */
export function gif({ width, height, palette, transparent, frame }: GifOptions): Buffer {
  const codes = [...frame.indices.flatMap((index) => [4, index]), 5]
  const bytes: number[] = []
  codes.forEach((code, i) => {
    for (let bit = 0; bit < 3; bit++) {
      const at = 3 * i + bit
      bytes[at >> 3] = (bytes[at >> 3] ?? 0) | (((code >> bit) & 1) << (at & 7))
    }
  })
  const control = transparent === undefined ? [] : [0x21, 0xf9, 4, 1, 0, 0, transparent, 0]
  const { left, top } = frame
  const descriptor = [0x2c, ...le16(left, top, frame.width, frame.height), 0]
  const screen = [...Buffer.from('GIF89a'), ...le16(width, height), 0xf1, 1, 0]
  return Buffer.from([...screen, ...palette, ...control, ...descriptor, 2, bytes.length, ...bytes, 0, 0x3b])
}

/** Baseline TIFF without compression. `photometric`: 2 for RGB, 5 for CMYK. */
export function tiff(options: {
  readonly width: number
  readonly height: number
  readonly channels: number
  readonly photometric: number
  readonly orientation?: number
  readonly pixels: readonly number[]
}): Buffer {
  const { width, height, channels, photometric, orientation = 1, pixels } = options
  const short = (tag: number, value: number) => [...le16(tag, 3), ...le32(1, value)]
  const entries = 9
  const depths = 8 + 2 + 12 * entries + 4
  const ifd = [
    ...short(256, width),
    ...short(257, height),
    ...[...le16(258, 3), ...le32(channels, depths)],
    ...short(259, 1),
    ...short(262, photometric),
    ...[...le16(273, 4), ...le32(1, depths + 2 * channels)],
    ...short(274, orientation),
    ...short(277, channels),
    ...[...le16(279, 4), ...le32(1, pixels.length)],
  ]
  const bits = Array(channels).fill(8)
  return Buffer.from([
    ...Buffer.from('II*\0'),
    ...le32(8),
    ...le16(entries),
    ...ifd,
    ...le32(0),
    ...le16(...bits),
    ...pixels,
  ])
}

/**
 * A sound progressive JPEG of grey, of up to 883 scans of which all but the first say of up to 16,384 blocks at once that nothing
 * follows. `side` is a multiple of 8, up to 1,024.
 */
export function jpegOfScans(scans: number, side = 8): Buffer {
  const segment = (marker: number, content: readonly number[]) => [
    0xff,
    marker,
    ...be16(content.length + 2),
    ...content,
  ]
  const blocks = (side / 8) ** 2
  const bits = Math.floor(Math.log2(blocks)) // of the length of a run of blocks, beside a leading one
  const table = (kind: number, value: number) => segment(0xc4, [kind, 1, ...Array(15).fill(0), value])
  const run = [0, ...Array.from({ length: bits }, (_, bit) => ((blocks - 2 ** bits) >> (bits - 1 - bit)) & 1)]
  const scan = (first: number, last: number, approximation: number, data: readonly number[]) => [
    ...segment(0xda, [1, 1, 0, first, last, approximation]),
    ...bytesOf(data),
  ]
  const refinements = Array.from({ length: Math.min(scans - 1, 63 * 14) }, (_, i) => {
    const [k, low] = [1 + Math.floor(i / 14), 13 - (i % 14)]
    return scan(k, k, low === 13 ? low : (low + 1) * 16 + low, run)
  })
  return Buffer.from([
    ...[0xff, 0xd8, ...segment(0xdb, [0, ...Array(64).fill(1)])],
    ...segment(0xc2, [8, ...be16(side, side), 1, 1, 0x11, 0]),
    ...[...table(0x00, 0), ...table(0x10, bits * 16), ...scan(0, 0, 0, Array(blocks).fill(0))],
    ...[...refinements.flat(), 0xff, 0xd9],
  ])
}

/** Bits, the highest of a byte first, filled up with ones; a byte of 255 is followed by 0. */
function bytesOf(bits: readonly number[]): number[] {
  const filled = [...bits, ...Array((8 - (bits.length % 8)) % 8).fill(1)]
  return Array.from({ length: filled.length / 8 }, (_, i) =>
    filled.slice(8 * i, 8 * i + 8).reduce((byte, bit) => 2 * byte + bit, 0),
  ).flatMap((byte) => (byte === 255 ? [255, 0] : [byte]))
}
