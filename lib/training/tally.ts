/** Sums of a run, kept through interruptions: what each stage and epoch took, and what the summary says of it. */

import type { Subnetwork } from '../growth/space.js'
import type { StageSummary, StepEvent, Summary } from '../report/events.js'

export interface StageTally {
  stage: number
  steps: number
  searchSteps: number
  seconds: number
  searchSeconds: number
  flops: number
  subnetwork: Subnetwork
}

export interface Tally {
  stages: StageTally[]
  waited: number
  totalSeconds: number
  skippedSteps: number | null
  epoch: { loss: number; steps: number; seconds: number; images: number }
}

export function createTally(): Tally {
  return {
    stages: [],
    waited: 0,
    totalSeconds: 0,
    skippedSteps: null,
    epoch: { loss: 0, steps: 0, seconds: 0, images: 0 },
  }
}

export function enterStage(tally: Tally, stage: number, subnetwork: Subnetwork): void {
  tally.stages.push({ stage, steps: 0, searchSteps: 0, seconds: 0, searchSeconds: 0, flops: 0, subnetwork })
}

/** Adds seconds of growth or of a candidate's evaluation. */
export function addSeconds(tally: Tally, seconds: number, searching: boolean): void {
  const stage = tally.stages.at(-1)!
  stage.seconds += seconds
  if (searching) stage.searchSeconds += seconds
}

/** Adds a step that trained a network of `flops` forward multiply-adds per image. */
export function addStep(tally: Tally, event: StepEvent, flops: number): void {
  const stage = tally.stages.at(-1)!
  stage.steps++
  stage.flops += flops
  if (event.phase === 'search') stage.searchSteps++
  addSeconds(tally, event.seconds, event.phase === 'search')
  tally.waited += event.waited
  const { epoch } = tally
  epoch.loss += event.loss
  epoch.steps++
  epoch.seconds += event.seconds
  epoch.images += event.images
}

/** What the epoch came to; the next one starts from nothing. */
export function closeEpoch(tally: Tally): { trainLoss: number; trainSeconds: number; imagesPerSecond: number } {
  const { loss, steps, seconds, images } = tally.epoch
  tally.epoch = createTally().epoch
  return {
    trainLoss: loss / Math.max(1, steps),
    trainSeconds: seconds,
    imagesPerSecond: images / Math.max(seconds, 1e-9),
  }
}

export function summarize(
  tally: Tally,
  facts: Pick<
    Summary,
    'scheme' | 'model' | 'data' | 'seed' | 'epochs' | 'batch' | 'top1' | 'top1Ema' | 'bestEmaDecay'
  > & { flopsFull: number; baselineSeconds: number | null },
): Summary {
  const { flopsFull, baselineSeconds, ...rest } = facts
  const sum = (value: (stage: StageTally) => number) => tally.stages.reduce((total, stage) => total + value(stage), 0)
  const steps = sum((stage) => stage.steps)
  const seconds = sum((stage) => stage.seconds)
  const flopsPerStep = sum((stage) => stage.flops) / Math.max(1, steps)
  return {
    ...rest,
    steps,
    seconds,
    totalSeconds: tally.totalSeconds,
    flopsPerStep,
    speedupTheoretical: flopsFull / flopsPerStep,
    speedupPractical: baselineSeconds === null ? null : baselineSeconds / seconds,
    skippedSteps: tally.skippedSteps,
    waitShare: tally.waited / Math.max(seconds, 1e-9),
    stages: tally.stages.map(stageSummary),
  }
}

function stageSummary({
  stage,
  steps,
  searchSteps,
  seconds,
  searchSeconds,
  flops,
  subnetwork,
}: StageTally): StageSummary {
  const { depth, resolution, l, n } = subnetwork
  return {
    stage,
    depth,
    resolution,
    l,
    n,
    steps,
    searchSteps,
    seconds,
    searchSeconds,
    flopsPerStep: flops / Math.max(1, steps),
  }
}
