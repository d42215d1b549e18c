/** What a person reads of a run: one block of text for each event worth a line, no wider than the look says. */
import type {
  Best,
  Cost,
  EpochEvent,
  SearchEvent,
  StageEvent,
  StartEvent,
  StepEvent,
  Summary,
  TrainingEvent,
} from './events.js'
import { fitParts, wrap } from './fit.js'
import { duration, integer, percent, plural, scaled, small, times } from './format.js'
import { candidatesTable, stagesTable } from './table.js'
import { type Look, plain } from './terminal.js'

/** The text of an event, or undefined where it has none (steps, tests, checkpoints). */
export function eventText(event: TrainingEvent, look: Look = plain): string | undefined {
  switch (event.type) {
    case 'start':
      return wrap(startText(event), look.width)
    case 'stage':
      return wrap(stageText(event), look.width)
    case 'search':
      return `${candidatesTable(event, look)}\n${wrap(scoreText(event), look.width)}`
    case 'epoch':
      return wrap(epochText(event), look.width)
    case 'notice':
      return noticeText(event.message, look)
    case 'end':
      return summaryText(event.summary, look)
    case 'step':
    case 'test':
    case 'checkpoint':
      return undefined
  }
}

/** What a person should know besides the rest. */
export const noticeText = (message: string, look: Look): string => wrap(`note: ${message}`, look.width)

/** How many images a dataset has for what. */
export function countsText(
  images: { train: number; validation?: number | undefined; test: number },
  classes: number,
): string {
  const { train, validation, test } = images
  const choosing = validation === undefined ? '' : `${integer(validation)} for choosing, `
  return `${plural(train, 'training image')}, ${choosing}${integer(test)} held out, ${plural(classes, 'class', 'classes')}`
}

/** What the last steps tell; unknown is undefined. Times in seconds. */
export interface Pace {
  readonly stages: number | undefined
  readonly imagesPerSecond: number
  readonly secondsLeft: number
  /** Share of the time in which steps waited for data. */
  readonly waitShare: number
  /** Where a run is one of several: which, and how long all that are left will take. */
  readonly all?: { readonly run: number; readonly runs: number; readonly secondsLeft: number } | undefined
}

/**
 * Where a step stands: "50 % · step 120/9360 · stage 1/4 search · 4 layers, 32 px · 812 images/s · loss … · lr … · 3 min 12 s left".
 * Loss and time left are there at any width.
 */
export function stepText(event: StepEvent, pace: Pace, width = Number.POSITIVE_INFINITY): string {
  const { stages, imagesPerSecond, secondsLeft, waitShare, all } = pace
  const part = (rank: number, text: string) => ({ rank, text })
  return fitParts(
    [
      ...(all === undefined ? [] : [part(4, `run ${all.run}/${all.runs}, ${duration(all.secondsLeft)} in all`)]),
      part(5, `step ${event.step + 1}/${event.steps}`),
      part(2, `stage ${event.stage}${stages === undefined ? '' : `/${stages}`} ${event.phase}`),
      part(6, `${plural(event.depth, 'layer')}, ${event.resolution} px`),
      part(3, `${integer(imagesPerSecond)} images/s`),
      ...(waitShare < 0.01 ? [] : [part(7, waiting(waitShare))]),
      part(0, `loss ${small(event.loss)}`),
      part(8, `lr ${small(event.learningRate)}`),
      part(0, `${duration(secondsLeft)} left`),
    ],
    width,
  )
}

/** The same behind a bar that takes what room there is. */
export function barText(event: StepEvent, pace: Pace, width: number): string {
  const done = (event.step + 1) / event.steps
  const share = `${Math.floor(100 * done)} %`
  const [shortest, longest] = [8, 24]
  const text = `${share} · ${stepText(event, pace, width - shortest - share.length - 4)}`
  const cells = Math.min(longest, width - text.length - 1)
  if (cells < shortest) return text.length <= width ? text : stepText(event, pace, width)
  const full = Math.round(cells * done)
  return `${'█'.repeat(full)}${'░'.repeat(cells - full)} ${text}`
}

/** The end of a run: the schedule it went through, accuracy, time, cost, speed-ups. */
export function summaryText(summary: Summary, look: Look = plain): string {
  const { speedupTheoretical, speedupPractical, top1, top1Ema, bestEmaDecay, best } = summary
  const average =
    bestEmaDecay === null
      ? ''
      : `, best average ${percent(top1Ema)} (decay ${bestEmaDecay}, chosen by the ${summary.chosenBy === 'validation' ? 'validation' : 'held-out'} images)`
  const kept =
    speedupPractical === null ? '' : ` (${percent(speedupPractical / speedupTheoretical)} of the theoretical)`
  const cooled = (figure: (cost: Cost) => string) =>
    summary.withoutCooldown ? `; without the cooldown, as in the paper, ${figure(summary.withoutCooldown)}` : ''
  const line = (name: string, value: string) => wrap(name.padEnd(valueColumn) + value, look.width, valueColumn)
  return [
    '',
    wrap(
      `${summary.scheme} · ${summary.model} · ${summary.data} · seed ${summary.seed} · ${plural(summary.epochs, 'epoch')}`,
      look.width,
    ),
    stagesTable(summary.stages, look),
    ...(summary.stages.some(({ searchSteps }) => searchSteps > 0)
      ? [wrap('mean MACs count the search of a stage too, which tries other networks', look.width)]
      : []),
    line('top-1', `weights ${percent(top1)}${average}`),
    ...(best ? [line('best, kept', bestText(best))] : []),
    line(
      'training time',
      `${duration(summary.seconds)} (${duration(summary.totalSeconds)} with evaluation and checkpoints; waited for data ${percent(summary.waitShare)})`,
    ),
    ...(summary.transformedPerSecond === null ? [] : [line('images a second', `${loaderText(summary)}, each thread`)]),
    ...(summary.skippedSteps
      ? [
          line(
            'skipped steps',
            `${integer(summary.skippedSteps)} of ${integer(summary.steps)}: fp16 gradients overflowed, the loss scale was lowered`,
          ),
        ]
      : []),
    line(
      'average cost',
      `${scaled(summary.flopsPerStep)} multiply-adds an image and step, forward${cooled((cost) => scaled(cost.flopsPerStep))}`,
    ),
    line('theoretical speed-up', `${times(speedupTheoretical)}${cooled((cost) => times(cost.speedupTheoretical))}`),
    // Ordinary training has none: it is what others are measured against.
    ...(speedupPractical === null && summary.scheme === 'original'
      ? []
      : [
          line(
            'practical speed-up',
            `${speedupPractical === null ? 'unknown: give --baseline RUN, a run of the original scheme' : times(speedupPractical)}${kept}`,
          ),
        ]),
  ].join('\n')
}

function bestText({ epoch, average, top1, on }: Best): string {
  const which = average === null ? 'weights' : `average, decay ${average},`
  return `${which} of epoch ${epoch}: ${percent(top1)} of the ${on === 'validation' ? 'validation' : 'held-out'} images`
}

/** Where the values of a summary begin. */
export const valueColumn = 21

function loaderText({ decodedPerSecond, transformedPerSecond }: Summary): string {
  const decoded = decodedPerSecond === null ? '' : `${integer(decodedPerSecond)} decoded, `
  return `${decoded}${integer(transformedPerSecond!)} augmented`
}

function startText(event: StartEvent): string {
  const images = { train: event.trainImages, validation: event.validationImages, test: event.testImages }
  const resumed = event.resumedFrom === null ? '' : ` · resumed at step ${integer(event.resumedFrom)}`
  return [
    `${event.scheme}${event.operator ? ` by ${event.operator}` : ''} · ${event.model} (${scaled(event.parameters)} parameters, ${scaled(event.flopsFull)} multiply-adds an image)`,
    `${event.data}: ${countsText(images, event.classes)}`,
    `${plural(event.epochs, 'epoch')} of ${plural(event.stepsPerEpoch, 'step')}, batch ${event.batch} · ${event.device}, ${plural(event.threads, 'thread')}, ${event.precision}${resumed}`,
  ].join('\n')
}

function stageText({ stage, stages, phase, subnetwork, operator, candidates, microBatch }: StageEvent): string {
  const network = `${plural(subnetwork.depth, 'layer')}, ${subnetwork.resolution} px`
  const what = phase === 'search' ? `search among ${candidates.length} up to ${network}` : `train ${network}`
  const grown = operator ? ` · grown by ${operator}` : ''
  return `stage ${stage}/${stages} · ${what}${grown} · micro-batch ${microBatch}`
}

/** Where a larger network's loss is no lower, its time does not count. */
function scoreText({ stage, exponent }: SearchEvent): string {
  const score = exponent === 0 ? 'loss (what takes longer has no lower one)' : `loss x time^${small(exponent)}`
  return `stage ${stage}: score = ${score}, lowest wins`
}

/** The share of the time in which steps waited for data. */
const waiting = (share: number) => `waits ${Math.round(100 * share)} %`

function epochText(event: EpochEvent): string {
  const best = event.emas.reduce((a, b) => (b.top1 > a.top1 ? b : a), event.emas[0] ?? { decay: 0, top1: -1 })
  return [
    `epoch ${event.epoch}`,
    `${plural(event.depth, 'layer')}, ${event.resolution} px`,
    `train loss ${small(event.trainLoss)}`,
    ...(event.testLoss === null
      ? []
      : [`${event.evaluatedOn === 'validation' ? 'validation' : 'held-out'} loss ${small(event.testLoss)}`]),
    ...(event.top1 === null ? [] : [`top-1 ${percent(event.top1)}`]),
    ...(event.emas.length === 0 ? [] : [`best average ${percent(best.top1)} (${best.decay})`]),
    `lr ${small(event.learningRate)}`,
    `${integer(event.imagesPerSecond)} images/s`,
    ...(event.waitShare < 0.01 ? [] : [waiting(event.waitShare)]),
    duration(event.trainSeconds),
  ].join(' · ')
}
