/**
 * A stage's search as a state machine: it says which candidate a step trains and when all are to be evaluated, is told
 * losses and times, and decides. It owns no tensors, so that a log replays it.
 *
 * For each step from `firstStep` on the trainer asks `evaluatesBefore(step)`, and if so measures all candidates with the
 * fastest average's weights on the fixed batches and tells `recordLosses`; it trains `candidateOf(step)` and tells
 * `recordTime`. After the last step it calls `decide`. A checkpoint stores `state()`, which is plain JSON, and a resumed
 * run passes it back.
 */
import { AutoprogError, expected } from '../errors.js'
import { draw, Purpose, toInteger } from '../random.js'
import { scoreCandidates } from './objective.js'
import type { Subnetwork } from './space.js'

export interface SearchOptions {
  readonly candidates: readonly Subnetwork[]
  /** Forward multiply-adds of each candidate. */
  readonly flops: readonly number[]
  readonly firstStep: number
  readonly steps: number
  readonly stepsPerEpoch: number
  readonly seed: number
  /**
   * A candidate's time: the median of its steps, the first of them, or what its multiply-adds take at 1e9 a second, which
   * is the same on every machine.
   */
  readonly time: 'median' | 'once' | 'flops'
}

/** All that a resumed search needs besides its options. */
export interface SearchState {
  /** Seconds of the steps of each candidate, in order. */
  readonly times: readonly (readonly number[])[]
  /** Losses of all candidates, one list an evaluation. */
  readonly losses: readonly (readonly number[])[]
}

export interface Decision {
  /** `seconds` is the time that the score was made of: score = loss * seconds^exponent. */
  readonly candidates: readonly (Subnetwork & { loss: number; seconds: number; score: number; flops: number })[]
  readonly exponent: number
  readonly chosen: number
}

export interface Search {
  /** Index of the candidate that a step trains, uniform and fixed by (seed, step). */
  candidateOf(step: number): number
  /**
   * Whether the candidates are to be evaluated before this step, which they were not yet: five times, evenly from the
   * start of the last search epoch, or in the second half of a search shorter than two epochs.
   */
  evaluatesBefore(step: number): boolean
  recordTime(candidate: number, seconds: number): void
  recordLosses(losses: readonly number[]): void
  /** Throws NUMERIC when a loss is not finite, CONFIG when nothing was evaluated. */
  decide(): Decision
  state(): SearchState
}

/** What a search was told, in order: the seconds of a step, or the losses of all candidates. */
export type SearchLog = readonly (
  | { readonly step: number; readonly seconds: number }
  | { readonly losses: readonly number[] }
)[]

const evaluations = 5

/** Opens a search, or continues one. Throws CONFIG for bad options, CHECKPOINT for a state of other candidates. */
export function createSearch(options: SearchOptions, restored?: SearchState): Search {
  checkOptions(options)
  if (restored) checkState(options, restored)
  const { candidates, flops, firstStep, steps, stepsPerEpoch, seed, time } = options
  const times = candidates.map((_, index) => [...(restored?.times[index] ?? [])])
  const losses = (restored?.losses ?? []).map((list) => [...list])
  const window = Math.min(stepsPerEpoch, Math.ceil(steps / 2))
  // A window of fewer than five steps holds fewer evaluations: between two of one step nothing would have changed.
  const points = [
    ...new Set(
      Array.from(
        { length: evaluations },
        (_, k) => firstStep + steps - window + Math.floor((k * window) / evaluations),
      ),
    ),
  ]
  return {
    candidateOf: (step) => candidateAt(seed, step, candidates.length),
    evaluatesBefore: (step) => points.indexOf(step) >= losses.length,
    recordTime: (candidate, seconds) => {
      if (!(candidate in times) || !(seconds > 0 && seconds < Infinity))
        throw new AutoprogError('CONFIG', expected('a positive time', `candidate ${candidate}`, seconds))
      times[candidate]!.push(seconds)
    },
    recordLosses: (list) => {
      if (list.length !== candidates.length)
        throw new AutoprogError('CONFIG', expected(`${candidates.length} losses`, 'the candidates', list))
      losses.push([...list])
    },
    decide: () => {
      if (losses.length === 0)
        throw new AutoprogError('CONFIG', 'The search ended without an evaluation of its candidates')
      const means = candidates.map((_, index) => losses.reduce((sum, list) => sum + list[index]!, 0) / losses.length)
      const seconds = time === 'flops' ? flops.map((count) => count / 1e9) : measuredTimes(times, flops, time)
      const { scores, exponent, best } = scoreCandidates(means, seconds)
      const results = candidates.map((candidate, index) => ({
        ...candidate,
        loss: means[index]!,
        seconds: seconds[index]!,
        score: scores[index]!,
        flops: flops[index]!,
      }))
      return { candidates: results, exponent, chosen: best }
    },
    state: () => ({ times: times.map((list) => [...list]), losses: losses.map((list) => [...list]) }),
  }
}

/** Index of the candidate that a step trains, of `count`: depends on (seed, step) alone, so a loader knows it ahead. */
export function candidateAt(seed: number, step: number, count: number): number {
  return toInteger(draw(seed, Purpose.subnetwork, step, 0)[0], count)
}

/** The search that a log tells of, ready to decide as the logged one did. */
export function replaySearch(options: SearchOptions, log: SearchLog): Search {
  const search = createSearch(options)
  for (const entry of log)
    if ('losses' in entry) search.recordLosses(entry.losses)
    else search.recordTime(search.candidateOf(entry.step), entry.seconds)
  return search
}

/** Seconds of each candidate. One that no step drew is estimated from the others, in proportion to the multiply-adds. */
function measuredTimes(times: readonly number[][], flops: readonly number[], time: 'median' | 'once'): number[] {
  const measured = times.map((list) => (time === 'once' ? list[0] : median(list)))
  const known = measured.flatMap((seconds, index) => (seconds === undefined ? [] : [seconds / flops[index]!]))
  const rate = median(known) ?? 1e-9
  return measured.map((seconds, index) => seconds ?? rate * flops[index]!)
}

function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 || sorted.length === 0 ? sorted[middle] : (sorted[middle - 1]! + sorted[middle]!) / 2
}

function checkOptions({ candidates, flops, firstStep, steps, stepsPerEpoch }: SearchOptions): void {
  if (candidates.length === 0 || flops.length !== candidates.length || !flops.every((count) => count > 0))
    throw new AutoprogError('CONFIG', expected(`${candidates.length} positive multiply-adds`, 'the candidates', flops))
  for (const [name, value, least] of [
    ['first step', firstStep, 0],
    ['steps', steps, 1],
    ['steps per epoch', stepsPerEpoch, 1],
  ] as const)
    if (!Number.isSafeInteger(value) || value < least)
      throw new AutoprogError('CONFIG', expected(`an integer of at least ${least}`, `the search's ${name}`, value))
}

function checkState({ candidates }: SearchOptions, { times, losses }: SearchState): void {
  const count = candidates.length
  const ofNumbers = (list: unknown) => Array.isArray(list) && list.every((value) => typeof value === 'number')
  if (Array.isArray(times) && times.length === count && times.every(ofNumbers) && Array.isArray(losses))
    if (losses.every((list) => ofNumbers(list) && list.length === count)) return
  throw new AutoprogError('CHECKPOINT', expected(`times and losses of ${count} candidates`, 'a stored search', times), {
    hint: 'The checkpoint belongs to another recipe, or is damaged.',
  })
}
