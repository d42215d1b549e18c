/** What of a recipe its scheme reads: runs are the same whose recipes differ in other keys alone. */
import type { Config, Schedule } from './schema.js'
import { operatorOf } from './values.js'

const growing = ['lengths', 'operator', 'source', 'moments', 'rewarm'] as const

/** Keys of `schedule` that each scheme reads besides `kind`. */
const scheduleKeys: Record<Schedule['kind'], readonly (keyof Schedule)[]> = {
  original: [],
  prog: ['stages', 'ratio', ...growing],
  progstack: growing,
  autoprog: ['stages', 'ratio', ...growing],
  supernet: ['stages', 'ratio'],
  fixed: ['subnetworks', ...growing],
}

/** The recipe without what its scheme passes over; an operator of `auto` is named. */
export function readKeys(config: Config): Record<string, unknown> {
  const { schedule, search, ...rest } = config
  const { kind } = schedule
  const named = { ...schedule, operator: operatorOf(config) }
  const read = Object.fromEntries(scheduleKeys[kind].map((key) => [key, named[key]]))
  // Only MoGrow takes weights from the average.
  if (named.operator !== 'mogrow') delete read.source
  const searches = kind === 'autoprog' || kind === 'supernet'
  return { ...rest, schedule: { kind, ...read }, ...(searches && { search }) }
}
