/** Fixed events of a short made-up run. */
import type {
  EpochEvent,
  SearchEvent,
  StageEvent,
  StartEvent,
  StepEvent,
  Summary,
  TrainingEvent,
} from '../../lib/report/events.js'

export const start: StartEvent = {
  type: 'start',
  scheme: 'autoprog',
  operator: 'mogrow',
  model: 'vit_fashion',
  data: 'fashion-mnist',
  device: 'cpu',
  threads: 2,
  parameters: 407_210,
  classes: 10,
  trainImages: 60_000,
  testImages: 10_000,
  epochs: 20,
  stepsPerEpoch: 468,
  batch: 128,
  flopsFull: 22_400_000,
  precision: 'fp32',
  resumedFrom: null,
}

const small = { depth: 4, resolution: 32, l: 0.5, n: 4 / 7 }
const large = { depth: 8, resolution: 56, l: 1, n: 1 }

export const stage: StageEvent = {
  type: 'stage',
  stage: 1,
  stages: 4,
  phase: 'search',
  subnetwork: large,
  operator: null,
  candidates: [small, large],
  step: 0,
  epoch: 0,
  microBatch: 64,
}

export const search: SearchEvent = {
  type: 'search',
  stage: 1,
  step: 187,
  candidates: [
    { ...small, loss: 1.25, seconds: 0.0204, score: 0.58, flops: 4_100_000 },
    { ...large, loss: 1.1, seconds: 0.1203, score: 0.7891, flops: 22_400_000 },
  ],
  exponent: 0.2,
  chosen: 0,
}

export function step(index: number, of: Partial<StepEvent> = {}): StepEvent {
  const where = { epoch: 0, stage: 1, phase: 'train', depth: 4, resolution: 32 } as const
  const what = {
    loss: 1.5,
    gradientNorm: 2,
    lossScale: null,
    learningRate: 9.125e-4,
    images: 128,
    seconds: 0.1,
    waited: 0,
    decodeSeconds: 0,
    transformSeconds: 0,
  }
  return { type: 'step', step: index, steps: 1000, ...where, ...what, ...of }
}

export const epoch: EpochEvent = {
  type: 'epoch',
  epoch: 1,
  step: 468,
  stage: 1,
  depth: 4,
  resolution: 32,
  trainLoss: 1.2345,
  top1: 0.8123,
  top5: 0.99,
  testLoss: 0.5,
  emas: [
    { decay: 0.99, top1: 0.8301, top5: 0.99, loss: 0.48 },
    { decay: 0.999, top1: 0.41, top5: 0.8, loss: 1.9 },
  ],
  learningRate: 0.001,
  trainSeconds: 48.2,
  evaluateSeconds: 3.1,
  imagesPerSecond: 1243.4,
  waitShare: 0.0012,
  decodedPerSecond: null,
  transformedPerSecond: null,
}

export function summary(of: Partial<Summary> = {}): Summary {
  return {
    scheme: 'autoprog',
    model: 'vit_fashion',
    data: 'fashion-mnist',
    seed: 0,
    epochs: 20,
    steps: 9360,
    batch: 128,
    seconds: 480,
    totalSeconds: 541.4,
    flopsPerStep: 11_200_000,
    speedupTheoretical: 2,
    withoutCooldown: null,
    speedupPractical: null,
    top1: 0.8912,
    top1Ema: 0.8934,
    bestEmaDecay: 0.998,
    skippedSteps: null,
    waitShare: 0.0012,
    decodedPerSecond: null,
    transformedPerSecond: null,
    stages: [
      { stage: 1, ...small, steps: 2340, searchSteps: 187, seconds: 61, searchSeconds: 9.5, flopsPerStep: 4_100_000 },
      { stage: 2, ...large, steps: 7020, searchSteps: 0, seconds: 419, searchSeconds: 0, flopsPerStep: 22_400_000 },
    ],
    ...of,
  }
}

export async function* stream(events: readonly TrainingEvent[]): AsyncGenerator<TrainingEvent> {
  yield* events
}
