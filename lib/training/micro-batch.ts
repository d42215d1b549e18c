import { microBatches } from './batch.js'

/**
 * The micro-batch of each sub-network, found while training: its first steps try several sizes in turn, later ones keep
 * the fastest. What was measured is state, so that a resumed run repeats an undisturbed one.
 */
export interface MicroBatchTuner {
  /** The size for the next step of a sub-network. */
  choose(subnetwork: string): number
  /** Tells what that step took. Returns whether it counts: trials are no measure of the sub-network. */
  record(subnetwork: string, microBatch: number, seconds: number): boolean
  state(): TunerState
}

export type TunerState = Record<string, { trials: number[][] }>

const smallest = 16
const sizesTried = 4
// The first trial of a size also builds its program and touches its memory for the first time.
const trialsPerSize = 2

export function createTuner(batch: number, fixed: number | 'auto', restored: TunerState = {}): MicroBatchTuner {
  const sizes = fixed === 'auto' ? candidates(batch) : [fixed]
  const entries = new Map(Object.entries(restored).map(([key, { trials }]) => [key, trials.map((times) => [...times])]))
  const trialsOf = (key: string): number[][] => {
    if (!entries.has(key))
      entries.set(
        key,
        sizes.map(() => []),
      )
    return entries.get(key)!
  }
  const next = (trials: number[][]) =>
    sizes.length === 1 ? -1 : trials.findIndex((times) => times.length < trialsPerSize)
  return {
    choose: (key) => {
      const trials = trialsOf(key)
      const trial = next(trials)
      if (trial >= 0) return sizes[trial]!
      const times = trials.map((list) => Math.min(...list))
      return sizes[times.indexOf(Math.min(...times))]!
    },
    record: (key, microBatch, seconds) => {
      const trials = trialsOf(key)
      const trial = next(trials)
      if (trial < 0) return true
      trials[sizes.indexOf(microBatch)]!.push(seconds)
      return false
    },
    state: () =>
      Object.fromEntries([...entries].map(([key, trials]) => [key, { trials: trials.map((times) => [...times]) }])),
  }
}

/** Large to small, so that memory for the largest is reserved once. */
function candidates(batch: number): number[] {
  const sizes = microBatches(batch).filter((size) => size >= smallest)
  return (sizes.length > 0 ? sizes : [batch]).slice(-sizesTried).reverse()
}
