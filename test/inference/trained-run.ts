/** A small run on pictures of two colours, for tests of what is done with one. */
import { join } from 'node:path'
import sharp from 'sharp'
import { type ConfigInput, resolveConfig } from '../../lib/recipe/config.js'
import type { EpochEvent } from '../../lib/report/events.js'
import { train } from '../../lib/training/trainer.js'
import { temporaryFolder, writeTree } from '../data/images.js'

export interface TrainedRun {
  readonly folder: string
  readonly run: string
  readonly data: string
  readonly epochs: readonly EpochEvent[]
  /** Paths of pictures by their class. */
  readonly pictures: Readonly<Record<string, readonly string[]>>
}

const tints: Record<string, readonly number[]> = { blue: [60, 60, 190], 'größer, red': [190, 60, 60] }

/** A picture of a colour, with noise. */
export function coloured(label: string, index: number, side = 24): Promise<Buffer> {
  const tint = tints[label]!
  const pixels = Buffer.from(
    Array.from({ length: side * side * 3 }, (_, i) => tint[i % 3]! + ((i * 7919 + index * 104729) % 61)),
  )
  return sharp(pixels, { raw: { width: side, height: side, channels: 3 } })
    .png()
    .toBuffer()
}

export async function trainSmall(overrides: Partial<ConfigInput> = {}): Promise<TrainedRun> {
  const folder = await temporaryFolder()
  const data = join(folder, 'pictures')
  const pictures: Record<string, string[]> = {}
  for (const label of Object.keys(tints)) {
    const files: Record<string, Buffer> = {}
    for (let index = 0; index < 24; index++)
      // Of several sizes, so that they are cut and scaled as photos are.
      files[`${label}/${index}.png`] = await coloured(label, index, 24 + 4 * (index % 3))
    await writeTree(data, files)
    pictures[label] = Object.keys(files).map((path) => join(data, path))
  }
  const recipe = resolveConfig({
    data,
    model: { kind: 'vit', imageSize: 24, patchSize: 8, embedDim: 16, depth: 2, heads: 2 },
    ...{ epochs: 3, batch: 8, workers: 1, threads: 1, validation: 0.2 },
    optimizer: { learningRate: 3e-3 },
    schedule: { kind: 'original' },
    ema: { decays: [0.5, 0.9] },
    ...overrides,
  })
  const run = join(folder, 'run')
  const epochs: EpochEvent[] = []
  for await (const event of train(recipe, { out: run })) if (event.type === 'epoch') epochs.push(event)
  return { folder, run, data, epochs, pictures }
}
