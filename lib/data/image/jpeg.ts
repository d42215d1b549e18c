/** What the headers of a JPEG say, and a mistake of JPEG writers that decoders put up with. */

const startOfImage = 0xd8
const endOfImage = 0xd9
const startOfScan = 0xda
const sequential = [0xc0, 0xc1]
const progressive = 0xc2

/** Width and height of a JPEG of 8-bit grey or colour, by its frame header; undefined for anything else. */
export function jpegSize(bytes: Uint8Array): { width: number; height: number } | undefined {
  if (bytes[0] !== 0xff || bytes[1] !== startOfImage) return undefined
  for (let at = nextMarker(bytes, 2); at + 9 < bytes.length; ) {
    const marker = bytes[at + 1]!
    if (marker === startOfScan || marker === endOfImage) return undefined
    const word = (offset: number) => bytes[at + offset]! * 256 + bytes[at + offset + 1]!
    if (sequential.includes(marker) || marker === progressive) {
      const [precision, height, width, components] = [bytes[at + 4], word(5), word(7), bytes[at + 9]]
      const known = precision === 8 && (components === 1 || components === 3) && width > 0 && height > 0
      return known ? { width, height } : undefined
    }
    at = nextMarker(bytes, at + 2 + word(2))
  }
  return undefined
}

/**
 * The JPEG with scan headers (ITU T.81, B.2.3) as a sequential one must have them: spectral selection 0 to 63, no successive
 * approximation. Some phones' cameras write other values there, which no decoder uses. Undefined where nothing is to correct.
 */
export function correctScanHeaders(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes[0] !== 0xff || bytes[1] !== startOfImage) return undefined
  let corrected: Uint8Array | undefined
  let isSequential = false
  for (let at = nextMarker(bytes, 2); at + 3 < bytes.length; ) {
    const marker = bytes[at + 1]!
    const length = bytes[at + 2]! * 256 + bytes[at + 3]!
    const end = at + 2 + length
    if (marker === endOfImage || end > bytes.length) break
    if (sequential.includes(marker)) isSequential = true
    if (marker === startOfScan && isSequential && length >= 8) {
      const [first, last, approximation] = bytes.subarray(end - 3, end)
      if (first !== 0 || last !== 63 || approximation !== 0) {
        corrected ??= Uint8Array.from(bytes)
        corrected.set([0, 63, 0], end - 3)
      }
    }
    at = nextMarker(bytes, end)
  }
  return corrected
}

/** Where the next marker stands: not in a scan's data, whose bytes of 255 are followed by 0 or by a restart's number. */
function nextMarker(bytes: Uint8Array, from: number): number {
  for (let at = bytes.indexOf(0xff, from); at >= 0; at = bytes.indexOf(0xff, at + 1)) {
    const marker = bytes[at + 1] ?? 0
    if (marker !== 0 && marker !== 0xff && !(marker >= 0xd0 && marker <= 0xd7)) return at
  }
  return bytes.length
}
