/** Pixels of other kinds to RGB and grey, by Pillow's arithmetic. */
import { yieldToEventLoop } from '../concurrent.js'
import type { Image } from '../source/dataset.js'

/** An image whose size is known and whose pixels are not decoded yet. */
export interface Encoded {
  readonly width: number
  readonly height: number
  /** The pixels as RGB. */
  decode(): Promise<Image>
}

/** Works on one row after another; the event loop has its turn about every million pixels. */
export async function forEachRow(width: number, height: number, work: (y: number) => void): Promise<void> {
  const perPause = Math.max(1, Math.floor(2 ** 20 / width))
  for (let y = 0; y < height; y++) {
    if (y % perPause === perPause - 1) await yieldToEventLoop()
    work(y)
  }
}

/** a * b / 255, rounded, as Pillow's MULDIV255 has it. */
function product(a: number, b: number): number {
  const sum = a * b + 128
  return ((sum >> 8) + sum) >> 8
}

/** (H, W, 4) of inks, 255 for full, to (H, W, 3): each the share that its ink lets pass of what black lets pass. */
export function rgbOfCmyk(inks: Uint8Array): Uint8Array {
  const pixels = new Uint8Array((inks.length / 4) * 3)
  for (let from = 0, to = 0; from < inks.length; from += 4) {
    const light = 255 - inks[from + 3]!
    for (let i = 0; i < 3; i++) pixels[to++] = Math.max(0, light - product(inks[from + i]!, light))
  }
  return pixels
}

/** (H, W, 3) to (H, W, 1): luma of ITU-R BT.601 in units of 2^-16, as `convert('L')` gives it. */
export function greyOf(rgb: Uint8Array): Uint8Array {
  const grey = new Uint8Array(rgb.length / 3)
  for (let from = 0, to = 0; from < rgb.length; from += 3)
    grey[to++] = (rgb[from]! * 19595 + rgb[from + 1]! * 38470 + rgb[from + 2]! * 7471 + 0x8000) >> 16
  return grey
}
