/**
 * A few training steps on noise, for tools that watch a program's memory (compute-sanitizer, valgrind):
 *   node --import tsx bench/short-training.ts [device] [precision] [steps]
 */
import { fileURLToPath } from 'node:url'
import { createModel, createSession, type Device, openDevice } from '../lib/index.js'
import type { Precision } from '../lib/session/request.js'

/**
 * Transformers of two shapes, heads of 64 (tensor-core attention in 16 bits) at two resolutions and odd ones that take the
 * plain kernels; a VOLO and a residual network.
 */
const networks = [
  [{ kind: 'vit', imageSize: 64, patchSize: 8, embedDim: 128, depth: 2, heads: 2 }, [64, 48]],
  [{ kind: 'vit', imageSize: 28, patchSize: 7, embedDim: 36, depth: 1, heads: 3 }, [28]],
  [
    { kind: 'volo', imageSize: 64, layers: [2, 1, 1], embedDims: [32, 64, 64], heads: [2, 2, 2], stemDim: 16 },
    [64, 32],
  ],
  [{ kind: 'resnet', imageSize: 64, block: 'bottleneck', layers: [1, 2], channels: [16, 32] }, [64, 32]],
] as const

/** The loss of each step, network after network, resolution after resolution. */
export async function trainShortly(
  device: Device,
  precision: Precision,
  steps: number,
): Promise<{ network: string; losses: number[] }[]> {
  const results = []
  for (const [description, resolutions] of networks) {
    const model = createModel(description, { classes: 11 })
    const session = await createSession({
      ...{ device, model, precision },
      optimizer: { averages: [0.9, 0.99], clip: 1 },
    })
    const losses: number[] = []
    for (const resolution of resolutions)
      for (let step = 0; step < steps; step++) {
        const data = Uint8Array.from({ length: 8 * 64 * 64 * 3 }, (_, index) => (index * 97 + step) % 256)
        const { loss } = await session.step({
          images: { data, shape: [8, 64, 64, 3], pad: 4 },
          ...{ targets: Int32Array.from({ length: 8 }, (_, index) => index), resolution, microBatch: 4 },
          ...{ stochasticDepth: description.kind === 'resnet' ? 0 : 0.1, step, learningRate: 1e-3 },
        })
        if (!Number.isFinite(loss)) throw new Error(`The loss of step ${step} at ${resolution} px is ${loss}`)
        losses.push(loss)
      }
    await session.close()
    results.push({ network: `${description.kind} of ${resolutions.join(' and ')} px`, losses })
  }
  return results
}

async function main(): Promise<void> {
  const [deviceName = 'cuda', precision = 'bf16', steps = '2'] = process.argv.slice(2)
  const device = await openDevice(deviceName)
  await trainShortly(device, precision as Precision, Number(steps))
  await device.close()
  console.log(`short training on ${deviceName} in ${precision}: done`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
