import { microBatches } from '../session/micro-batches.js'

/**
 * The micro-batch of each sub-network, found while training: its first steps try several sizes in turn, later ones keep
 * the fastest. What was measured is state, so that a resumed run repeats an undisturbed one.
 */
export interface MicroBatchTuner {
  /** The size for the next step of a sub-network. */
  choose(subnetwork: string): number
  /** Tells what that step took. Returns whether it counts: trials are no measure of the sub-network. */
  record(subnetwork: string, microBatch: number, seconds: number): boolean
  /** Tells that a size does not fit in memory. Returns whether there is another to choose. */
  refuse(subnetwork: string, microBatch: number): boolean
  /** Whether the sub-network's size is found. */
  settled(subnetwork: string): boolean
  state(): TunerState
}

export type TunerState = Record<string, { trials: number[][] }>

const smallest = 16
const sizesTried = 4
// The first trial of a size also builds its program and touches its memory for the first time.
const trialsPerSize = 2
// In place of the times of a size that does not fit: a number, since state is kept as JSON.
const refused = Number.MAX_VALUE

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
  /** The largest sizes that fit, as far as is known, with their times. */
  const considered = (key: string) => {
    const trials = trialsOf(key).map((times, index) => ({ size: sizes[index]!, times }))
    return trials.filter(({ times }) => times[0] !== refused).slice(0, sizesTried)
  }
  const trial = (key: string) =>
    sizes.length === 1 ? undefined : considered(key).find(({ times }) => times.length < trialsPerSize)
  const best = (key: string) =>
    considered(key).reduce((a, b) => (Math.min(...b.times) < Math.min(...a.times) ? b : a)).size
  return {
    choose: (key) => trial(key)?.size ?? best(key),
    record: (key, microBatch, seconds) => {
      const open = trial(key)
      if (!open) return true
      if (open.size === microBatch) open.times.push(seconds)
      return false
    },
    refuse: (key, microBatch) => {
      trialsOf(key)[sizes.indexOf(microBatch)] = [refused]
      return considered(key).length > 0
    },
    settled: (key) => trial(key) === undefined,
    state: () =>
      Object.fromEntries([...entries].map(([key, trials]) => [key, { trials: trials.map((times) => [...times]) }])),
  }
}

/** Large to small, so that memory for the largest is reserved once. */
function candidates(batch: number): number[] {
  const sizes = microBatches(batch).filter((size) => size >= smallest)
  return (sizes.length > 0 ? sizes : [batch]).reverse()
}
