import { defineOp, noCost } from './define.js'

/** x in another floating-point type, rounded to nearest even; `lib/graph/precision.ts` inserts it. */
export const cast = defineOp<Record<string, never>>('cast', {
  infer: ([x]) => [{ shape: x!.shape }],
  cost: noCost,
  gradient: 'none',
  precision: 'full',
  storage: { inputs: { 0: 'any' }, outputs: { 0: 'any' } },
  attributes: [],
})
