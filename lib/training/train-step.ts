/** One step of a run: what it trains on, with which strengths and rate, and what it says of itself. */

import { drawMix, drawTokenBox } from '../data/image/mix.js'
import type { Batch } from '../data/loader.js'
import { AutoprogError } from '../errors.js'
import type { Subnetwork } from '../growth/space.js'
import { learningRateAt } from '../recipe/learning-rate.js'
import { peakRate } from '../recipe/values.js'
import type { StepEvent } from '../report/events.js'
import type { BatchOptions } from '../session/batch.js'
import type { StepResult } from '../session/session.js'
import type { Run } from './run.js'
import { inputsOf, keyOf, subnetworkAt } from './run.js'
import { addStep } from './tally.js'

/** Below this loss scale a float16's gradients are as good as unscaled, and still overflow. */
const smallestScale = 2 ** -14

/**
 * One step of the run, on the batch that its loader made. Throws NUMERIC where training has diverged, MEMORY where not even the
 * smallest micro-batch fits.
 */
export async function trainStep(run: Run, batch: Batch): Promise<StepEvent> {
  const { config, session, state, stages, stage, tuner, loader, model, search } = run
  const started = performance.now()
  const subnetwork = subnetworkAt(run, batch.step)
  const key = keyOf(subnetwork)
  const learningRate = rateAt(run, batch.step)
  const attempt = async (microBatch: number): Promise<StepResult & { microBatch: number }> => {
    const options = {
      ...inputsOf(run, batch, subnetwork),
      microBatch,
      stochasticDepth: stages.regularization(stage, state.searching).stochasticDepth,
      ...mixOf(run, batch, subnetwork),
      step: batch.step,
      learningRate,
    }
    try {
      return { microBatch, ...(await session.step(options)) }
    } catch (error) {
      const tooLarge = error instanceof AutoprogError && error.code === 'MEMORY'
      if (!tooLarge || tuner.settled(key) || !tuner.refuse(key, microBatch)) throw error
      return attempt(tuner.choose(key))
    }
  }
  const { microBatch, loss, gradientNorm, lossScale } = await attempt(tuner.choose(key))
  // What was spent on this step alone: the one before may have been under way when it was sent.
  const now = performance.now()
  const computed = (now - Math.max(started, run.freeSince)) / 1000
  const seconds = (now - Math.max(started - 1000 * batch.waited, run.freeSince)) / 1000
  run.freeSince = now
  // With loss scaling an overflow skips the step; only where nothing is left to scale down has training diverged.
  const skipped = lossScale !== undefined && !Number.isFinite(gradientNorm)
  if (!Number.isFinite(loss) || (skipped ? lossScale.scale < smallestScale : !Number.isFinite(gradientNorm)))
    throw diverged(run, batch.step, loss, skipped ? lossScale.scale : undefined)
  state.tally.skippedSteps = lossScale?.skippedSteps ?? null
  if (tuner.record(key, microBatch, computed) && search) search.recordTime(search.candidateOf(batch.step), computed)
  const event: StepEvent = {
    type: 'step',
    step: batch.step,
    steps: stages.steps,
    epoch: Math.floor(batch.step / loader.stepsPerEpoch),
    stage: stage.index + 1,
    phase: state.searching ? 'search' : 'train',
    depth: subnetwork.depth,
    resolution: subnetwork.resolution,
    loss,
    gradientNorm: skipped ? null : gradientNorm,
    lossScale: lossScale?.scale ?? null,
    learningRate,
    images: batch.labels.length,
    seconds,
    waited: seconds - computed,
    decodeSeconds: batch.decodeSeconds,
    transformSeconds: batch.transformSeconds,
  }
  addStep(state.tally, event, model.flops(subnetwork), event.epoch >= config.epochs)
  return event
}

/** Images of a batch are mixed in training alone: candidates are scored on images as they are. */
function mixOf({ config, model }: Run, batch: Batch, { resolution }: Subnetwork): Pick<BatchOptions, 'mix' | 'mixBox'> {
  if (config.tokenLabels?.mixToken) {
    const { top, left, bottom, right } = drawTokenBox(config.seed, batch.step, resolution / model.tokenSize!)
    return { mixBox: [top, left, bottom, right] }
  }
  const { mixup, cutmix, mixProbability: probability, mixSwitch: switchProbability } = config.regularization
  if (mixup === 0 && cutmix === 0) return {}
  return { mix: drawMix({ mixup, cutmix, probability, switchProbability }, config.seed, batch.step, resolution) }
}

/** The learning rate of a step, lowered for a while after a growth where the recipe says so. */
export function rateAt({ config, loader, state }: Run, step: number): number {
  const { learningRate, schedule, epochs } = config
  const epoch = step / loader.stepsPerEpoch
  const rate = learningRateAt(
    { peak: peakRate(config), epochs, ...learningRate },
    learningRate.per === 'epoch' ? Math.floor(epoch) : epoch,
  )
  const since = step - state.grownAt
  // After a growth the rate may rise from zero again: new layers meet moments that do not know them.
  return state.grownAt >= 0 && since < schedule.rewarm ? (rate * (since + 1)) / (schedule.rewarm + 1) : rate
}

function diverged({ lastCheckpoint }: Run, step: number, loss: number, scale: number | undefined): AutoprogError {
  const good =
    lastCheckpoint === undefined
      ? 'No checkpoint was written before.'
      : `The last good checkpoint is ${lastCheckpoint}.`
  const overflow = scale === undefined ? '' : ` and its gradients overflow at a loss scale of ${scale}`
  return new AutoprogError(
    'NUMERIC',
    `The loss of step ${step} is ${loss}${overflow}: training has diverged. ${good}`,
    {
      hint: 'Lower optimizer.learningRate, set optimizer.clip, or warm up for longer.',
    },
  )
}
