/** A mistake of JPEG writers that decoders put up with. */

const startOfImage = 0xd8
const endOfImage = 0xd9
const startOfScan = 0xda
const sequential = [0xc0, 0xc1]

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
