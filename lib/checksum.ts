/** CRC-32 as in zlib and PNG; of what comes in parts with the value of the part before. */
import * as zlib from 'node:zlib'

/** Node's own where it has one (20.15 and later), a table otherwise. */
export const crc32: (bytes: Uint8Array, before?: number) => number = zlib.crc32 ?? tableCrc32

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte
  for (let bit = 0; bit < 8; bit++) remainder = remainder & 1 ? (remainder >>> 1) ^ 0xedb88320 : remainder >>> 1
  return remainder
})

export function tableCrc32(bytes: Uint8Array, before = 0): number {
  let remainder = (before ^ 0xffffffff) >>> 0
  for (const byte of bytes) remainder = (remainder >>> 8) ^ table[(remainder ^ byte) & 0xff]!
  return (remainder ^ 0xffffffff) >>> 0
}
