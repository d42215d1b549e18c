/** Everything a training run says, in order; `events.jsonl` holds exactly these objects, one a line. */

/** A sub-network: how many blocks run, and at which image size in pixels; `l` and `n` are the ratios to the full ones. */
export interface Subnetwork {
  readonly depth: number
  readonly resolution: number
  readonly l: number
  readonly n: number
}

/** What the run is, said once before its first step (again after a resume, with `resumedFrom`). */
export interface StartEvent {
  type: 'start'
  scheme: string
  /** What the network grows by; null where it does not grow. */
  operator: string | null
  model: string
  data: string
  device: string
  threads: number
  parameters: number
  classes: number
  trainImages: number
  /** That choose the best average of the weights; absent where the test images do. */
  validationImages?: number
  testImages: number
  epochs: number
  stepsPerEpoch: number
  batch: number
  /** Forward multiply-adds of the full network, per image. */
  flopsFull: number
  precision: string
  resumedFrom: number | null
}

/** A stage, or the second phase of one, begins. In `search` every step draws one of `candidates`. */
export interface StageEvent {
  type: 'stage'
  stage: number // from 1
  stages: number
  phase: 'search' | 'train'
  subnetwork: Subnetwork // the sub-network trained; in a search, the largest candidate
  operator: string | null // by which the network grew as the phase began; null where it did not
  candidates: Subnetwork[] // empty outside of a search
  step: number
  epoch: number // may be fractional: stages need not begin at an epoch's start
  microBatch: number
}

/** One optimizer step. `loss` is the mean over the batch. Times in seconds. */
export interface StepEvent {
  type: 'step'
  step: number // from 0
  steps: number // of the whole run
  epoch: number // from 0, whole
  stage: number
  phase: 'search' | 'train'
  depth: number
  resolution: number
  loss: number
  /** Before clipping; null where the step was skipped because fp16 gradients overflowed. */
  gradientNorm: number | null
  /** Factor on the loss after the step; null unless the precision is fp16. */
  lossScale: number | null
  learningRate: number
  images: number
  seconds: number
  /** Time of `seconds` in which the step waited for data. */
  waited: number
  /** Work of all threads on the step's images. */
  decodeSeconds: number
  transformSeconds: number
}

/** How the loader kept up. Images are made by several threads at a time; speeds are those of one. */
export interface LoaderFigures {
  /** Share of the training time in which steps waited for data. */
  waitShare: number
  /** Images decoded a second; null where they lie decoded in memory. */
  decodedPerSecond: number | null
  /** Images cut, scaled and augmented a second; null where the device does it. */
  transformedPerSecond: number | null
}

export interface CandidateResult extends Subnetwork {
  loss: number
  seconds: number
  score: number
  /** Forward multiply-adds per image. */
  flops: number
}

/** A stage's search is over; `chosen` is an index into `candidates`. Score = loss * seconds^exponent, lowest wins. */
export interface SearchEvent {
  type: 'search'
  stage: number
  step: number
  candidates: CandidateResult[]
  exponent: number
  chosen: number
}

/** Accuracy after an epoch on the validation images where the run has some, else on the test images, in [0, 1]. `emas` has one entry per average, in the order of the recipe's decays. */
export interface EpochEvent extends LoaderFigures {
  type: 'epoch'
  epoch: number // finished epochs, from 1
  step: number
  stage: number
  depth: number
  resolution: number // the resolution evaluated at
  evaluatedOn?: 'validation' | 'test' // absent where this epoch was not evaluated, and in early runs
  trainLoss: number // mean over the epoch's steps
  top1: number | null // null where this epoch was not evaluated
  top5: number | null
  testLoss: number | null
  emas: { decay: number; top1: number; top5: number; loss: number }[]
  learningRate: number // of the last step
  trainSeconds: number // of this epoch's steps
  evaluateSeconds: number
  imagesPerSecond: number
}

/** What the test images say at the end of a run that has validation images: until then they are not looked at. */
export interface TestEvent {
  type: 'test'
  images: number
  resolution: number
  top1: number
  top5: number
  loss: number
  emas: { decay: number; top1: number; top5: number; loss: number }[]
}

export interface CheckpointEvent {
  type: 'checkpoint'
  path: string
  step: number
}

/** A notice to a human: something was substituted, dropped, or is slow. */
export interface NoticeEvent {
  type: 'notice'
  message: string
}

export interface StageSummary {
  stage: number
  depth: number
  resolution: number
  l: number
  n: number
  steps: number
  searchSteps: number
  /** Training time of the stage, search and candidate evaluation included. */
  seconds: number
  searchSeconds: number
  /** Mean forward multiply-adds per image and step, search and scoring included. */
  flopsPerStep: number
}

/** Forward multiply-adds per image and step, over `steps` steps. */
export interface Cost {
  steps: number
  flopsPerStep: number
  speedupTheoretical: number
}

/** Weights that did best on the images that choose. */
export interface Best {
  epoch: number
  /** The decay of the average; null for the weights themselves. */
  average: number | null
  top1: number
  on: 'validation' | 'test'
}

/** `summary.json`; unknown is null. */
export interface Summary extends LoaderFigures {
  scheme: string
  model: string
  data: string
  seed: number
  epochs: number
  steps: number
  batch: number
  /** Wall-clock training time: steps and searches, without held-out evaluation and checkpoints. */
  seconds: number
  /** Everything, from the first step to the end, evaluation and checkpoints included; over all resumed parts. */
  totalSeconds: number
  /**
   * Mean forward multiply-adds per image over all training steps, searches included; the forward passes that score their
   * candidates count a third, since steps have a backward pass besides.
   */
  flopsPerStep: number
  /** flopsFull / flopsPerStep. */
  speedupTheoretical: number
  /** The same over the recipe's epochs alone, as the paper's tables count; null where no cooldown follows them. */
  withoutCooldown: Cost | null
  /** Training seconds of the baseline run / ours; null without a baseline. */
  speedupPractical: number | null
  /** On the test images. */
  top1: number | null
  /** The same of the best of the averages at the end of training, and its decay, … */
  top1Ema: number | null
  bestEmaDecay: number | null
  /** … which these images chose; absent in early runs, where it was the test images. */
  chosenBy?: 'validation' | 'test'
  /** The best of all epochs; absent in early runs. */
  best?: Best
  /** Steps that were skipped because fp16 gradients overflowed; null with other precisions. */
  skippedSteps: number | null
  stages: StageSummary[]
}

export interface EndEvent {
  type: 'end'
  summary: Summary
}

export type TrainingEvent =
  | StartEvent
  | StageEvent
  | StepEvent
  | SearchEvent
  | EpochEvent
  | TestEvent
  | CheckpointEvent
  | NoticeEvent
  | EndEvent
