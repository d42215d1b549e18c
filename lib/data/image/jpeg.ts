/** What the headers of a JPEG say. */
import { isTooLarge } from './limits.js'

const startOfImage = 0xd8
const endOfImage = 0xd9
const startOfScan = 0xda
/** Of frames that decoders know (ITU T.81, table B.1): baseline, extended and progressive by Huffman's code, and two by arithmetic. */
const frames = [0xc0, 0xc1, 0xc2, 0xc9, 0xca]

export interface FrameHeader {
  readonly width: number
  readonly height: number
  /** Bits a sample. */
  readonly precision: number
  /** 1 for grey, 3 for colour, 4 for CMYK. */
  readonly components: number
}

/** What the frame header of a JPEG states (ITU T.81, B.2.2); undefined for anything else. */
export function frameHeader(bytes: Uint8Array): FrameHeader | undefined {
  if (bytes[0] !== 0xff || bytes[1] !== startOfImage) return undefined
  for (let at = nextMarker(bytes, 2); at + 9 < bytes.length; ) {
    const marker = bytes[at + 1]!
    if (marker === startOfScan || marker === endOfImage) return undefined
    const word = (offset: number) => bytes[at + offset]! * 256 + bytes[at + offset + 1]!
    if (frames.includes(marker))
      return { width: word(7), height: word(5), precision: bytes[at + 4]!, components: bytes[at + 9]! }
    at = nextMarker(bytes, at + 2 + word(2))
  }
  return undefined
}

/** Width and height of a JPEG of 8-bit grey or colour of which parts can be decoded; undefined for anything else. */
export function jpegSize(bytes: Uint8Array): { width: number; height: number } | undefined {
  const header = frameHeader(bytes)
  if (header === undefined) return undefined
  const { width, height, precision, components } = header
  const isKnown = precision === 8 && (components === 1 || components === 3) && width > 0 && height > 0
  return isKnown && !isTooLarge(width, height) ? { width, height } : undefined
}

/** How many scans a JPEG has, each of which passes over the whole image; `most` where there are more. */
export function scansOf(bytes: Uint8Array, most: number): number {
  let scans = 0
  for (let at = nextMarker(bytes, 2); at + 3 < bytes.length && scans < most; ) {
    const marker = bytes[at + 1]
    if (marker === endOfImage) break
    if (marker === startOfScan) scans += 1
    at = nextMarker(bytes, at + 2 + bytes[at + 2]! * 256 + bytes[at + 3]!)
  }
  return scans
}

/** Where the next marker stands: not in a scan's data, whose bytes of 255 are followed by 0 or by a restart's number. */
function nextMarker(bytes: Uint8Array, from: number): number {
  for (let at = bytes.indexOf(0xff, from); at >= 0; at = bytes.indexOf(0xff, at + 1)) {
    const marker = bytes[at + 1] ?? 0
    if (marker !== 0 && marker !== 0xff && !(marker >= 0xd0 && marker <= 0xd7)) return at
  }
  return bytes.length
}
