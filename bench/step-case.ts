/** What bench/step and bench/gpu/step share: a training step as a case, and the processes that take it. */
import { fileURLToPath } from 'node:url'
import { createModel } from '../lib/models/registry.js'
import { startWorker, type Worker } from './worker.js'

export interface StepCase {
  readonly model: string
  readonly batch: number
  readonly resolution: number
  readonly device: string
  readonly precision: string
}

/** What step-worker.ts says at its end. */
export interface OurEnd {
  /** The GPU's name, `cpu` otherwise. */
  readonly deviceName: string
  /** Resident on the processor, reserved on a GPU. */
  readonly peakMegabytes: number
  readonly javascriptShare: number
  readonly eventLoopDelayP99: number
  /** Seconds by op, of all steps since the warm-up; empty on a GPU unless AUTOPROG_PROFILE is set. */
  readonly ops: Readonly<Record<string, number>>
}

/** PyTorch as it comes or compiled, with channels first or last. */
export const peerModes = ['eager', 'compile', 'eager-channels-last', 'compile-channels-last'] as const
export type PeerMode = (typeof peerModes)[number]

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url))
const args = ({ model, batch, resolution, device, precision }: StepCase) => [
  ...[model, String(batch), String(resolution), device, precision],
]

export const startOurs = (step: StepCase): Worker =>
  startWorker(process.execPath, [
    ...['--import', fileURLToPath(import.meta.resolve('tsx')), here('step-worker.ts'), ...args(step)],
  ])

export const startPeer = (python: string, step: StepCase, mode: PeerMode): Worker =>
  startWorker(python, [here('step_peer.py'), ...args(step), mode])

/** Floating-point operations of a step, which computes each forward product three times. */
export const stepFlops = ({ model, batch, resolution }: StepCase): number =>
  6 * createModel(model).flops({ resolution }) * batch
