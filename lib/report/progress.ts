/** Follows a run on a terminal: a bar and lines above it, or, where the stream is no terminal, plain lines now and then. */
import type { StageEvent, StepEvent, TrainingEvent } from './events.js'
import { clearStatus, lookOf, type Output, printLine, showStatus } from './terminal.js'
import { barText, eventText, type Pace, stepText } from './text.js'

export interface Progress {
  show(event: TrainingEvent): void
  /** Takes the bar away; harmless when repeated. */
  close(): void
}

/** The runs of which one is followed. */
export interface RunsAround {
  readonly run: number // from 1
  readonly runs: number
  /** Seconds that the runs after this one will take, if it takes so long itself. */
  secondsAfter(seconds: number): number
  /** Notices that were shown; they are not shown again. */
  readonly notices: Set<string>
}

export interface ProgressOptions {
  stream: Output
  around?: RunsAround | undefined
  /** Clock in seconds; for tests. */
  now?: () => number
}

export function createProgress({ stream, around, now = () => performance.now() / 1000 }: ProgressOptions): Progress {
  const pace = createPace(now, around)
  const interval = stream.isTTY ? 0.1 : 5
  let last = Number.NEGATIVE_INFINITY
  const showStep = (event: StepEvent) => {
    if (now() - last < interval) return
    last = now()
    // The last column stays free: some terminals go on to the next line when it is written.
    if (stream.isTTY) showStatus(stream, barText(event, pace.tell(), lookOf(stream).width - 1))
    else printLine(stream, stepText(event, pace.tell()))
  }
  return {
    show(event) {
      pace.see(event)
      if (event.type === 'step') return showStep(event)
      if (event.type === 'notice' && around !== undefined) {
        const notice = event.message.replace(/\d[\d.,]*/g, '#') // figures that were measured differ from run to run
        if (around.notices.has(notice)) return
        around.notices.add(notice)
      }
      const text = eventText(event, lookOf(stream))
      if (text === undefined) return
      printLine(stream, text)
      if (stream.isTTY) last = Number.NEGATIVE_INFINITY // the bar comes back at once
    },
    close: clearStatus,
  }
}

/** Speed over the last steps and, from it, the time left. */
function createPace(now: () => number, around: RunsAround | undefined, size = 50) {
  const begun = now()
  let stage: StageEvent | undefined
  let recent: StepEvent[] = []
  const sum = (value: (event: StepEvent) => number) => recent.reduce((total, event) => total + value(event), 0)
  /** Cost of a step against the full network's: layers times tokens. */
  const share = (event: StepEvent) => {
    if (stage === undefined) return 1
    const { depth, resolution, l, n } = stage.subnetwork
    return ((event.depth * l) / depth) * ((event.resolution * n) / resolution) ** 2
  }
  /** The last stage goes on as it is; before it, steps are taken to grow evenly to the full network's cost. */
  const secondsLeft = () => {
    const last = recent.at(-1)
    if (last === undefined) return 0
    const step = sum((event) => event.seconds) / recent.length
    const full = stage === undefined || stage.stage === stage.stages ? step : sum((event) => event.seconds) / sum(share)
    return ((step + full) / 2) * (last.steps - last.step - 1)
  }
  return {
    see(event: TrainingEvent) {
      if (event.type === 'stage') {
        stage = event
        recent = []
      } else if (event.type === 'step') recent = [...recent.slice(1 - size), event]
    },
    tell(): Pace {
      const left = secondsLeft()
      return {
        stages: stage?.stages, // unknown after a resume, until the next stage begins
        imagesPerSecond: sum((event) => event.images) / sum((event) => event.seconds),
        secondsLeft: left,
        waitShare: sum((event) => event.waited) / sum((event) => event.seconds),
        all: around && {
          run: around.run,
          runs: around.runs,
          secondsLeft: left + around.secondsAfter(now() - begun + left),
        },
      }
    },
  }
}
