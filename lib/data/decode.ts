/** Encoded images (JPEG, PNG, WebP, …) to 8-bit pixels, off the event loop, through libvips. */
import sharp, { type Sharp } from 'sharp'
import { AutoprogError } from '../errors.js'
import type { Image } from './dataset.js'

// Images are decoded side by side, each on one thread, and none is asked for twice.
sharp.concurrency(1)
sharp.cache(false)

/** How many images are decoded side by side: enough to keep libuv's four threads busy while others are being read. */
export const decodingLanes = 8

/** Endings of files that are taken for images. */
export const imageEnding = /\.(jpe?g|png|webp|gif|tiff?|avif)$/i

// Written by some phones' cameras, and of no consequence: every other warning of the JPEG decoder means damaged pixels.
const harmlessWarning = /Invalid SOS parameters/

export interface DecodeOptions {
  /** How an error names the image. */
  readonly name: string
  readonly channels: 1 | 3
}

/**
 * Decodes as PIL's `convert('RGB')` or `convert('L')` would: no rotation by EXIF, no colour profile, no alpha.
 * Throws IMAGE, naming the image, where it is truncated or damaged.
 */
export async function decodeImage(bytes: Uint8Array, options: DecodeOptions): Promise<Image> {
  try {
    return await decode(sharp(bytes, { ignoreIcc: true, failOn: 'warning' }), options)
  } catch (cause) {
    if (harmlessWarning.test(String(cause))) return decodeLeniently(bytes, options)
    throw brokenImage(options.name, cause)
  }
}

/** The error of one image that cannot be read or decoded. */
export function brokenImage(name: string, cause: unknown): AutoprogError {
  const reason = (cause instanceof Error ? cause.message : String(cause)).replace(/\s+/g, ' ').trim()
  return new AutoprogError('IMAGE', `Cannot read the image ${name}: ${reason}`, {
    hint: 'replace the file or remove it',
    cause,
  })
}

async function decodeLeniently(bytes: Uint8Array, options: DecodeOptions): Promise<Image> {
  try {
    return await decode(sharp(bytes, { ignoreIcc: true, failOn: 'error' }), options)
  } catch (cause) {
    throw brokenImage(options.name, cause)
  }
}

async function decode(pipeline: Sharp, { channels }: DecodeOptions): Promise<Image> {
  const { data, info } = await pipeline
    .removeAlpha()
    .toColourspace(channels === 1 ? 'b-w' : 'srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true })
  if (info.channels !== channels) throw new Error(`decoded to ${info.channels} channels instead of ${channels}`)
  return { pixels: data, height: info.height, width: info.width, channels }
}
