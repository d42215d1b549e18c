/** Follows a run on a terminal: a bar and lines above it, or, where the stream is no terminal, plain lines now and then. */
import { SingleBar } from 'cli-progress'
import type { StageEvent, StepEvent, TrainingEvent } from './events.js'
import { eventText, stepText } from './text.js'

export interface Progress {
  show(event: TrainingEvent): void
  /** Takes the bar away; harmless when repeated. */
  close(): void
}

export interface ProgressOptions {
  stream: NodeJS.WritableStream
  /** A bar that is redrawn, for terminals; otherwise a line at most every `interval` seconds. */
  bar: boolean
  interval?: number
  /** Clock in seconds; for tests. */
  now?: () => number
}

export function createProgress({
  stream,
  bar,
  interval = 5,
  now = () => performance.now() / 1000,
}: ProgressOptions): Progress {
  const pace = createPace()
  const drawn = bar ? createBar(stream) : undefined
  let lastLine = Number.NEGATIVE_INFINITY
  const showStep = (event: StepEvent) => {
    const text = () => stepText(event, pace.stages(), pace.imagesPerSecond(), pace.secondsLeft(), pace.waitShare())
    if (drawn !== undefined) drawn.update(event, text())
    else if (now() - lastLine >= interval) {
      lastLine = now()
      stream.write(`${text()}\n`)
    }
  }
  return {
    show(event) {
      pace.see(event)
      if (event.type === 'step') return showStep(event)
      const text = eventText(event)
      if (text === undefined) return
      drawn?.clear()
      stream.write(`${text}\n`)
    },
    close: () => drawn?.clear(),
  }
}

/** A bar that is cleared before every line of text and drawn again by the next step, so that lines stand above it. */
function createBar(stream: NodeJS.WritableStream) {
  const bar = new SingleBar({
    stream,
    format: '{bar} {percentage} % · {text}',
    barsize: 16,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    clearOnComplete: true,
    linewrap: true, // cuts the line at the terminal's width
    gracefulExit: false,
  })
  let shown = false
  return {
    update(event: StepEvent, text: string) {
      if (shown) bar.update(event.step + 1, { text })
      else bar.start(event.steps, event.step + 1, { text })
      shown = true
    },
    clear() {
      if (shown) bar.stop()
      shown = false
    },
  }
}

/** Speed over the last steps and, from it, the time left. */
function createPace(size = 50) {
  let stage: StageEvent | undefined
  let recent: StepEvent[] = []
  const sum = (value: (event: StepEvent) => number) => recent.reduce((total, event) => total + value(event), 0)
  /** Cost of a step against the full network's: layers times tokens. */
  const share = (event: StepEvent) => {
    if (stage === undefined) return 1
    const { depth, resolution, l, n } = stage.subnetwork
    return ((event.depth * l) / depth) * ((event.resolution * n) / resolution) ** 2
  }
  return {
    see(event: TrainingEvent) {
      if (event.type === 'stage') {
        stage = event
        recent = []
      } else if (event.type === 'step') recent = [...recent.slice(1 - size), event]
    },
    /** Unknown after a resume, until the next stage begins. */
    stages: () => stage?.stages,
    imagesPerSecond: () => sum((event) => event.images) / sum((event) => event.seconds),
    waitShare: () => sum((event) => event.waited) / sum((event) => event.seconds),
    /** The last stage goes on as it is; before it, steps are taken to grow evenly to the full network's cost. */
    secondsLeft() {
      const last = recent.at(-1)
      if (last === undefined) return 0
      const step = sum((event) => event.seconds) / recent.length
      const full =
        stage === undefined || stage.stage === stage.stages ? step : sum((event) => event.seconds) / sum(share)
      return ((step + full) / 2) * (last.steps - last.step - 1)
    },
  }
}
