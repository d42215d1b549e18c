/** What a person reads of a run: one block of text for each event worth a line. */
import type { Cost, EpochEvent, StageEvent, StartEvent, StepEvent, Summary, TrainingEvent } from './events.js'
import { duration, integer, percent, scaled, small, times } from './format.js'
import { candidatesTable, stagesTable } from './table.js'

/** The text of an event, or undefined where it has none (steps, checkpoints). */
export function eventText(event: TrainingEvent): string | undefined {
  switch (event.type) {
    case 'start':
      return startText(event)
    case 'stage':
      return stageText(event)
    case 'search':
      return `${candidatesTable(event)}\nstage ${event.stage}: score = loss x time^${small(event.exponent)}, lowest wins`
    case 'epoch':
      return epochText(event)
    case 'notice':
      return `note: ${event.message}`
    case 'end':
      return summaryText(event.summary)
    case 'step':
    case 'checkpoint':
      return undefined
  }
}

/** Where a step stands: "step 120/9360 · stage 1/4 search · 4 layers, 32 px · 812 images/s · loss … · lr … · 3 min 12 s left". */
export function stepText(
  event: StepEvent,
  stages: number | undefined,
  imagesPerSecond: number,
  secondsLeft: number,
  waitShare: number,
): string {
  return [
    `step ${event.step + 1}/${event.steps}`,
    `stage ${event.stage}${stages === undefined ? '' : `/${stages}`} ${event.phase}`,
    `${event.depth} layers, ${event.resolution} px`,
    `${integer(imagesPerSecond)} images/s`,
    ...(waitShare < 0.01 ? [] : [`waits ${percent(waitShare)}`]),
    `loss ${small(event.loss)}`,
    `lr ${small(event.learningRate)}`,
    `${duration(secondsLeft)} left`,
  ].join(' · ')
}

/** The end of a run: the schedule it went through, accuracy, time, cost, speed-ups. */
export function summaryText(summary: Summary): string {
  const { speedupTheoretical, speedupPractical, top1, top1Ema, bestEmaDecay } = summary
  const average =
    bestEmaDecay === null
      ? ''
      : `, best average ${percent(top1Ema)} (decay ${bestEmaDecay}, chosen by the ${summary.chosenBy === 'validation' ? 'validation' : 'held-out'} images)`
  const kept =
    speedupPractical === null ? '' : ` (${percent(speedupPractical / speedupTheoretical)} of the theoretical)`
  const cooled = (figure: (cost: Cost) => string) =>
    summary.withoutCooldown ? `; without the cooldown, as in the paper, ${figure(summary.withoutCooldown)}` : ''
  return [
    '',
    `${summary.scheme} · ${summary.model} · ${summary.data} · seed ${summary.seed} · ${summary.epochs} ${summary.epochs === 1 ? 'epoch' : 'epochs'}`,
    stagesTable(summary.stages),
    `top-1                weights ${percent(top1)}${average}`,
    `training time        ${duration(summary.seconds)} (${duration(summary.totalSeconds)} with evaluation and checkpoints; waited for data ${percent(summary.waitShare)})`,
    ...(summary.transformedPerSecond === null ? [] : [`images a second      ${loaderText(summary)}, each thread`]),
    ...(summary.skippedSteps
      ? [
          `skipped steps        ${integer(summary.skippedSteps)} of ${integer(summary.steps)}: fp16 gradients overflowed, the loss scale was lowered`,
        ]
      : []),
    `average cost         ${scaled(summary.flopsPerStep)} multiply-adds an image and step, forward${cooled((cost) => scaled(cost.flopsPerStep))}`,
    `theoretical speed-up ${times(speedupTheoretical)}${cooled((cost) => times(cost.speedupTheoretical))}`,
    `practical speed-up   ${speedupPractical === null ? 'unknown: give --baseline RUN, a run of the original scheme' : times(speedupPractical)}${kept}`,
  ].join('\n')
}

function loaderText({ decodedPerSecond, transformedPerSecond }: Summary): string {
  const decoded = decodedPerSecond === null ? '' : `${integer(decodedPerSecond)} decoded, `
  return `${decoded}${integer(transformedPerSecond!)} augmented`
}

function startText(event: StartEvent): string {
  const resumed = event.resumedFrom === null ? '' : ` · resumed at step ${integer(event.resumedFrom)}`
  return [
    `${event.scheme}${event.operator ? ` by ${event.operator}` : ''} · ${event.model} (${scaled(event.parameters)} parameters, ${scaled(event.flopsFull)} multiply-adds an image)`,
    `${event.data}: ${integer(event.trainImages)} training images, ${event.validationImages === undefined ? '' : `${integer(event.validationImages)} for choosing, `}${integer(event.testImages)} held out, ${event.classes} classes`,
    `${event.epochs} ${event.epochs === 1 ? 'epoch' : 'epochs'} of ${integer(event.stepsPerEpoch)} steps, batch ${event.batch} · ${event.device}, ${event.threads} threads, ${event.precision}${resumed}`,
  ].join('\n')
}

function stageText({ stage, stages, phase, subnetwork, operator, candidates, microBatch }: StageEvent): string {
  const network = `${subnetwork.depth} layers, ${subnetwork.resolution} px`
  const what = phase === 'search' ? `search among ${candidates.length} up to ${network}` : `train ${network}`
  const grown = operator ? ` · grown by ${operator}` : ''
  return `stage ${stage}/${stages} · ${what}${grown} · micro-batch ${microBatch}`
}

function epochText(event: EpochEvent): string {
  const best = event.emas.reduce((a, b) => (b.top1 > a.top1 ? b : a), event.emas[0] ?? { decay: 0, top1: -1 })
  return [
    `epoch ${event.epoch}`,
    `${event.depth} layers, ${event.resolution} px`,
    `train loss ${small(event.trainLoss)}`,
    ...(event.testLoss === null ? [] : [`test loss ${small(event.testLoss)}`]),
    ...(event.top1 === null ? [] : [`top-1 ${percent(event.top1)}`]),
    ...(event.emas.length === 0 ? [] : [`best average ${percent(best.top1)} (${best.decay})`]),
    `lr ${small(event.learningRate)}`,
    `${integer(event.imagesPerSecond)} images/s`,
    ...(event.waitShare < 0.01 ? [] : [`waited for data ${percent(event.waitShare)}`]),
    duration(event.trainSeconds),
  ].join(' · ')
}
