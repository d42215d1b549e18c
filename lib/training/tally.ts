/** Sums of a run, kept through interruptions: what each stage and epoch took, and what the summary says of it. */

import type { Subnetwork } from '../growth/space.js'
import type { LoaderFigures, StageSummary, StepEvent, Summary } from '../report/events.js'

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
  /** Of a resumed run, until its checkpoint. */
  totalSeconds: number
  skippedSteps: number | null
  /** The steps after the recipe's epochs; absent in checkpoints written before they were counted. */
  cooldown?: { steps: number; flops: number }
  work: Work
  epoch: Work & { loss: number; steps: number }
}

/** Sums over steps, for what the loader has to say. */
interface Work {
  seconds: number
  images: number
  waited: number
  decodeSeconds: number
  transformSeconds: number
}

export const noWork = (): Work => ({ seconds: 0, images: 0, waited: 0, decodeSeconds: 0, transformSeconds: 0 })

export function createTally(): Tally {
  return {
    stages: [],
    totalSeconds: 0,
    skippedSteps: null,
    work: noWork(),
    epoch: { ...noWork(), loss: 0, steps: 0 },
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

/**
 * Adds the forward passes that score a search's candidates, `flops` multiply-adds per image of a batch, over all batches. A step
 * stands for its forward pass and a backward pass of twice that: a forward pass alone is a third of one.
 */
export function addScoring(tally: Tally, flops: number): void {
  tally.stages.at(-1)!.flops += flops / 3
}

/** Adds a step that trained a network of `flops` forward multiply-adds per image, in the cooldown or before it. */
export function addStep(tally: Tally, event: StepEvent, flops: number, cooldown: boolean): void {
  const stage = tally.stages.at(-1)!
  stage.steps++
  stage.flops += flops
  if (cooldown) {
    tally.cooldown ??= { steps: 0, flops: 0 }
    tally.cooldown.steps++
    tally.cooldown.flops += flops
  }
  if (event.phase === 'search') stage.searchSteps++
  addSeconds(tally, event.seconds, event.phase === 'search')
  const { epoch, work } = tally
  epoch.loss += event.loss
  epoch.steps++
  for (const key of Object.keys(work) as (keyof Work)[]) {
    work[key] += event[key]
    epoch[key] += event[key]
  }
}

function loaderFigures({ seconds, images, waited, decodeSeconds, transformSeconds }: Work): LoaderFigures {
  const perSecond = (spent: number) => (spent === 0 ? null : images / spent)
  return {
    waitShare: waited / Math.max(seconds, 1e-9),
    decodedPerSecond: perSecond(decodeSeconds),
    transformedPerSecond: perSecond(transformSeconds),
  }
}

/** What the epoch came to; the next one starts from nothing. */
export function closeEpoch(
  tally: Tally,
): LoaderFigures & { trainLoss: number; trainSeconds: number; imagesPerSecond: number } {
  const { loss, steps, seconds, images } = tally.epoch
  const figures = loaderFigures(tally.epoch)
  tally.epoch = createTally().epoch
  return {
    ...figures,
    trainLoss: loss / Math.max(1, steps),
    trainSeconds: seconds,
    imagesPerSecond: images / Math.max(seconds, 1e-9),
  }
}

export function summarize(
  tally: Tally,
  facts: Pick<
    Summary,
    | 'scheme'
    | 'model'
    | 'data'
    | 'seed'
    | 'epochs'
    | 'batch'
    | 'top1'
    | 'top1Ema'
    | 'bestEmaDecay'
    | 'chosenBy'
    | 'best'
    | 'totalSeconds'
  > & { flopsFull: number; baselineSeconds: number | null },
): Summary {
  const { flopsFull, baselineSeconds, ...rest } = facts
  const sum = (value: (stage: StageTally) => number) => tally.stages.reduce((total, stage) => total + value(stage), 0)
  const steps = sum((stage) => stage.steps)
  const seconds = sum((stage) => stage.seconds)
  const costOf = (over: number, flops: number) => {
    const flopsPerStep = flops / Math.max(1, over)
    return { steps: over, flopsPerStep, speedupTheoretical: flopsFull / flopsPerStep }
  }
  const flops = sum((stage) => stage.flops)
  const { cooldown } = tally
  return {
    ...rest,
    seconds,
    ...costOf(steps, flops),
    withoutCooldown: cooldown ? costOf(steps - cooldown.steps, flops - cooldown.flops) : null,
    speedupPractical: baselineSeconds === null ? null : baselineSeconds / seconds,
    skippedSteps: tally.skippedSteps,
    ...loaderFigures({ ...tally.work, seconds }),
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
