/** A small dataset made on the spot: pictures of bars along x, along y, and of discs, which a small network tells apart. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import { draw, Purpose, toUnit } from '../lib/random.js'

const side = 16
const kinds = ['bars', 'columns', 'discs'] as const

/** Writes `train/` and `val/` into a folder, with `train` and `held` pictures of 16 x 16 pixels a class. */
export async function makePictures(root: string, { train, held }: { train: number; held: number }): Promise<void> {
  const halves = [
    ['train', train, 1],
    ['val', held, 2],
  ] as const
  for (const [half, count, seed] of halves)
    for (const [kind, name] of kinds.entries()) {
      const folder = join(root, half, name)
      await mkdir(folder, { recursive: true })
      for (let index = 0; index < count; index++)
        await sharp(pixelsOf(kind, seed, index), { raw: { width: side, height: side, channels: 3 } })
          .png()
          .toFile(join(folder, `${index}.png`))
    }
}

function pixelsOf(kind: number, seed: number, index: number): Buffer {
  const [a, b, c] = [...draw(seed, Purpose.augmentation, kind, index)].map(toUnit) as [number, number, number]
  const [period, phase, level] = [3 + 3 * a, 6 * b, 120 + 100 * c]
  const pixels = Buffer.alloc(side * side * 3)
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++) {
      const wave = [y, x, Math.hypot(x - 8, y - 8)][kind]!
      const bright = Math.sin((2 * Math.PI * (wave + phase)) / period) > 0
      pixels.fill(Math.round(level * (bright ? 1 : 0.2)), (y * side + x) * 3, (y * side + x + 1) * 3)
    }
  return pixels
}
