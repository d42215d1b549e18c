/** What kind of file some bytes are, and what size its header states, before anything of it is decoded. */
import { frameHeader } from './jpeg.js'

/** Formats that are decoded; `map` are PBM, PGM and PPM. */
export type ImageFormat = 'jpeg' | 'png' | 'gif' | 'webp' | 'tiff' | 'avif' | 'bmp' | 'map'

/** Endings of files that are taken for images. */
export const imageEnding = /\.(jpe?g|jpe|jfif|png|webp|gif|tiff?|avif|bmp|dib|p[bgpn]m)$/i

/** Endings of images, or what may stand for images, that are passed over. */
const unreadEndings: readonly [RegExp, name: string][] = [
  [/\.hei[cf]|\.hif$/i, 'HEIC'],
  [/\.(svgz?|ai|eps)$/i, 'vector graphics'],
  [/\.ps[db]$/i, 'Photoshop'],
  [/\.(ico|cur|icns)$/i, 'icons'],
  [/\.(jp2|j2k|jpf|jpx)$/i, 'JPEG 2000'],
  [/\.jxl$/i, 'JPEG XL'],
  [/\.(dng|cr[23]|nef|arw|raf|orf|rw2)$/i, 'camera raw'],
  [/\.(exr|hdr)$/i, 'high dynamic range'],
  [/\.(dcm|dicom)$/i, 'DICOM'],
  [/\.(tga|pcx|xcf|pdf)$/i, 'other formats'],
]

/** The formats, in words, of those files that are named like images that cannot be read. */
export const unreadFormat = (path: string): string | undefined =>
  unreadEndings.find(([ending]) => ending.test(path))?.[1]

/** What to do with images that are not read. */
export const conversionHint = 'convert to PNG or JPEG, or remove it'

interface Signature {
  readonly at?: number
  readonly bytes: string
}

const readSignatures: readonly (Signature & { readonly format: ImageFormat })[] = [
  { format: 'jpeg', bytes: '\xff\xd8\xff' },
  { format: 'png', bytes: '\x89PNG\r\n\x1a\n' },
  { format: 'gif', bytes: 'GIF87a' },
  { format: 'gif', bytes: 'GIF89a' },
  { format: 'webp', at: 8, bytes: 'WEBP' },
  { format: 'tiff', bytes: 'II*\0' },
  { format: 'tiff', bytes: 'MM\0*' },
  { format: 'tiff', bytes: 'II+\0' },
  { format: 'tiff', bytes: 'MM\0+' },
  { format: 'bmp', bytes: 'BM' },
]

const unreadSignatures: readonly (Signature & { readonly name: string })[] = [
  { name: 'a Photoshop file', bytes: '8BPS' },
  { name: 'an icon', bytes: '\0\0\x01\0' },
  { name: 'a cursor', bytes: '\0\0\x02\0' },
  { name: 'a JPEG 2000 file', at: 4, bytes: 'jP  \r\n\x87\n' },
  { name: 'a JPEG 2000 file', bytes: '\xff\x4f\xff\x51' },
  { name: 'a JPEG XL file', at: 4, bytes: 'JXL \r\n\x87\n' },
  { name: 'a JPEG XL file', bytes: '\xff\x0a' },
  { name: 'an OpenEXR file', bytes: 'v/1\x01' },
  { name: 'a Radiance HDR file', bytes: '#?RADIANCE' },
  { name: 'a DICOM file', at: 128, bytes: 'DICM' },
  { name: 'a PDF file', bytes: '%PDF' },
  { name: 'a ZIP archive', bytes: 'PK\x03\x04' },
  { name: 'a pointer of Git LFS, not the image itself', bytes: 'version https://git-lfs' },
]

/** The format of an image that can be decoded, or what the bytes are instead, as far as that can be told. */
export function formatOf(bytes: Uint8Array): ImageFormat | { readonly other: string | undefined } {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 1024)).toString('latin1')
  const fits = ({ at = 0, bytes: signature }: Signature) => head.startsWith(signature, at)
  const known = readSignatures.find(fits)
  if (known !== undefined) return known.format
  if (/^P[1-6]\s/.test(head)) return 'map'
  if (head.startsWith('ftyp', 4)) return ofBrands(head)
  const other = unreadSignatures.find(fits)?.name
  return { other: other ?? ofMarkup(bytes) }
}

/** Files of ISO's base media format name their brands in their first box (ISO/IEC 14496-12, 4.3). */
function ofBrands(head: string): ImageFormat | { readonly other: string } {
  const length = Buffer.from(head.slice(0, 4), 'latin1').readUInt32BE(0)
  const brands: string[] = head.slice(8, length).match(/.{4}/gs) ?? []
  if (brands.includes('avif') || brands.includes('avis')) return 'avif'
  const isHeic = brands.some((brand) => /^(hei|hev|mif1|msf1)/.test(brand))
  return { other: isHeic ? 'a HEIC file' : 'a video, or another file of the MPEG-4 family' }
}

/** Bytes of a text that are looked at. */
const prologue = 2 ** 20

const roots: readonly [RegExp, name: string][] = [
  [/^<(!doctype\s+|\w+:)?svg[\s/>]/i, 'an SVG file'],
  [/^<(!doctype\s+|\w+:)?html[\s/>]/i, 'an HTML page'],
]

/** By its document type or first element, whatever declarations and comments come before. */
function ofMarkup(bytes: Uint8Array): string | undefined {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, prologue)).toString('latin1')
  const next = /\S/g
  next.lastIndex = text.startsWith('\xef\xbb\xbf') ? 3 : 0
  for (let isFirst = true; ; isFirst = false) {
    const at = next.exec(text)?.index ?? text.length
    const head = text.slice(at, at + 64)
    if (isFirst && !head.startsWith('<')) return undefined
    const end = head.startsWith('<!--') ? '-->' : head.startsWith('<?') ? '?>' : undefined
    if (end === undefined) return roots.find(([root]) => root.test(head))?.[1] ?? 'an XML file'
    const after = text.indexOf(end, at)
    next.lastIndex = after < 0 ? text.length : after + end.length
  }
}

interface Size {
  readonly width: number
  readonly height: number
}

/** Width and height by the header of a PNG, GIF, WebP or JPEG; undefined where it does not say, or for another format. */
export function sizeInHeader(format: ImageFormat, bytes: Uint8Array): Size | undefined {
  const { buffer, byteOffset, byteLength } = bytes
  const view = new DataView(buffer, byteOffset, byteLength)
  if (format === 'jpeg') return frameHeader(bytes)
  if (format === 'png' && byteLength >= 24) return { width: view.getUint32(16), height: view.getUint32(20) }
  if (format === 'gif' && byteLength >= 10) return { width: view.getUint16(6, true), height: view.getUint16(8, true) }
  if (format === 'webp' && byteLength >= 30) return sizeOfWebp(view)
  return undefined
}

/** RFC 9649: extended (2.7), lossless (2.6) and lossy (2.5, RFC 6386) files. */
function sizeOfWebp(view: DataView): Size | undefined {
  const uint24 = (at: number) => view.getUint16(at, true) + view.getUint8(at + 2) * 2 ** 16
  switch (String.fromCharCode(view.getUint8(15))) {
    case 'X':
      return { width: 1 + uint24(24), height: 1 + uint24(27) }
    case 'L': {
      const bits = view.getUint32(21, true)
      return { width: 1 + (bits & 0x3fff), height: 1 + ((bits >>> 14) & 0x3fff) }
    }
    case ' ':
      return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff }
    default:
      return undefined
  }
}
