/**
 * A stage's search as a state machine: it says which candidate a step trains and when all are to be evaluated, is told
 * losses and times, and decides. It owns no tensors, so that a log replays it.
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
  /** A candidate's time: the median of its steps, the first of them, or its multiply-adds. */
  readonly time: 'median' | 'once' | 'flops'
}

/** All that a resumed search needs besides its options. */
export interface SearchState {
  readonly times: number[][]
  /** Losses of all candidates, one list an evaluation. */
  readonly losses: number[][]
}

export interface Decision {
  readonly candidates: readonly (Subnetwork & { loss: number; seconds: number; score: number; flops: number })[]
  readonly exponent: number
  readonly chosen: number
}

export interface Search {
  /** Index of the candidate that a step trains, uniform and fixed by (seed, step). */
  candidateOf(step: number): number
  /** Whether the candidates are to be evaluated before this step: five times, from the start of the last search epoch. */
  evaluatesBefore(step: number): boolean
  recordTime(candidate: number, seconds: number): void
  recordLosses(losses: readonly number[]): void
  /** Throws NUMERIC when a loss is not finite, CONFIG when nothing was evaluated. */
  decide(): Decision
  state(): SearchState
}

const evaluations = 5

export function createSearch(options: SearchOptions, restored?: SearchState): Search {
  const { candidates, flops, firstStep, steps, stepsPerEpoch, seed, time } = options
  const times = candidates.map((_, index) => [...(restored?.times[index] ?? [])])
  const losses = (restored?.losses ?? []).map((list) => [...list])
  // Searches shorter than two epochs evaluate in their second half.
  const window = steps >= 2 * stepsPerEpoch ? stepsPerEpoch : Math.ceil(steps / 2)
  const points = new Set(
    Array.from({ length: evaluations }, (_, k) => firstStep + steps - window + Math.floor((k * window) / evaluations)),
  )

  const timeOf = (index: number): number => {
    if (time === 'flops') return flops[index]!
    const list = times[index]!
    if (list.length > 0) return time === 'once' ? list[0]! : median(list)
    // Never drawn: estimated from the others, in proportion to the multiply-adds.
    const known = times.flatMap((others, other) => (others.length > 0 ? [median(others) / flops[other]!] : []))
    return known.length > 0 ? median(known) * flops[index]! : flops[index]!
  }
  return {
    candidateOf: (step) => toInteger(draw(seed, Purpose.subnetwork, step, 0)[0], candidates.length),
    evaluatesBefore: (step) => points.has(step),
    recordTime: (candidate, seconds) => {
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
      if (!means.every(Number.isFinite))
        throw new AutoprogError('NUMERIC', 'A candidate of the search has a loss that is not finite', {
          hint: 'Lower the learning rate.',
        })
      const seconds = candidates.map((_, index) => timeOf(index))
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

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
