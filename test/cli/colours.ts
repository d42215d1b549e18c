/** Two classes of pictures, reddish and bluish, and a recipe for them that trains in a moment. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'

const recipe = `
data: images
model: vit_micro
epochs: 2
batch: 8
threads: 1
schedule: { kind: original, stages: 1 }
learningRate: { warmupEpochs: 1 }
ema: { decays: [0.9, 0.99] }
evaluation: { batch: 16 }
`

/** Writes `colours.yaml` and `images/` into the folder. */
export async function writeColours(folder: string): Promise<void> {
  writeFileSync(join(folder, 'colours.yaml'), recipe)
  for (const [half, count] of Object.entries({ train: 16, val: 4 })) {
    for (const [label, tint] of Object.entries({ red: 0, blue: 2 })) {
      const of = join(folder, 'images', half, label)
      mkdirSync(of, { recursive: true })
      for (let image = 0; image < count; image++) {
        const noise = (index: number) => ((index * 7919 + image * 104729) % 97) + (index % 3 === tint ? 120 : 0)
        const pixels = Buffer.from(Array.from({ length: 32 * 32 * 3 }, (_, index) => noise(index)))
        await sharp(pixels, { raw: { width: 32, height: 32, channels: 3 } })
          .png()
          .toFile(join(of, `${image}.png`))
      }
    }
  }
}
