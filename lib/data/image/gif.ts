/** What decoders of GIF leave open, transparent or beside the frame on the canvas, in the colour that the palette has for it. */

type Colour = readonly [number, number, number]

const black: Colour = [0, 0, 0]
const extension = 0x21
const graphicControl = 0xf9
const imageDescriptor = 0x2c

interface Frame {
  readonly left: number
  readonly top: number
  readonly right: number
  readonly bottom: number
  /** The palette's colour of the transparent index, or of index 0 where there is none; black where the palette has none. */
  readonly open: Colour
}

/** Where the first frame lies on the canvas, by GIF89a, 18 to 23. */
function firstFrame(bytes: Uint8Array): Frame {
  const { buffer, byteOffset, byteLength } = bytes
  const view = new DataView(buffer, byteOffset, byteLength)
  /** Bytes of a palette, by the flags before it. */
  const paletteSize = (flags: number) => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0)
  const common = paletteSize(bytes[10] ?? 0)
  let index = 0
  let at = 13 + common
  while (bytes[at] === extension) {
    if (bytes[at + 1] === graphicControl) index = (bytes[at + 3] ?? 0) & 1 ? (bytes[at + 6] ?? 0) : 0
    at += 2
    while ((bytes[at] ?? 0) !== 0) at += 1 + bytes[at]!
    at += 1
  }
  if (bytes[at] !== imageDescriptor || at + 10 > byteLength) throw new Error('it holds no frame')
  const own = paletteSize(bytes[at + 9]!)
  const [from, size] = own > 0 ? [at + 10, own] : [13, common]
  const isThere = 3 * index < size && from + 3 * index + 2 < byteLength
  const [left, top, width, height] = [1, 3, 5, 7].map((field) => view.getUint16(at + field, true)) as [
    number,
    number,
    number,
    number,
  ]
  const open = isThere ? ([...bytes.subarray(from + 3 * index, from + 3 * index + 3)] as unknown as Colour) : black
  return { left, top, right: left + width, bottom: top + height, open }
}

/** The canvas of `pixels` (H, W, 4) with the first frame of the GIF, as (H, W, 3). */
export function rgbOfGif(bytes: Uint8Array, pixels: Uint8Array, width: number): Uint8Array {
  const { left, top, right, bottom, open } = firstFrame(bytes)
  const rgb = new Uint8Array((pixels.length / 4) * 3)
  const height = pixels.length / 4 / width
  for (let y = 0, from = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, from += 4) {
      const isSet = pixels[from + 3] === 255 && x >= left && x < right && y >= top && y < bottom
      for (let i = 0; i < 3; i++) rgb[to++] = isSet ? pixels[from + i]! : open[i]!
    }
  }
  return rgb
}
