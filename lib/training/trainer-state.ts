/** What a checkpoint says besides its tensors: where the run stands, and of what data it is. */
import { z } from 'zod'
import type { DataIdentity } from '../data/source/fingerprint.js'
import type { Blocks } from '../growth/layer-map.js'
import type { SearchState } from '../growth/search.js'
import type { Subnetwork } from '../growth/space.js'
import type { Best, EpochEvent } from '../report/events.js'
import type { TunerState } from './micro-batch.js'
import { noWork, type Tally } from './tally.js'

/** The trainer's part of a checkpoint. */
export interface TrainerState {
  step: number
  stage: number
  searching: boolean
  /** What the current stage trains, or its largest candidate while it searches. */
  subnetwork: Subnetwork
  /** What the stage before ended with. */
  previous: Subnetwork | undefined
  /** Of the network held. */
  blocks: Blocks
  grownAt: number
  search: SearchState | undefined
  tuner: TunerState
  tally: Tally
  /** An epoch has ended and was not evaluated yet. */
  epochDue: boolean
  lastEpoch: EpochEvent | undefined
  /** Of all epochs; unknown of those before an early checkpoint. */
  best?: Best | undefined
}

const number = z.number()
const lists = z.array(z.array(number))
const count = number.int().min(0)
const blocks = z.array(count)
const subnetwork = z.object({ blocks, depth: count, resolution: count, l: number, n: number })
const work = z.object({
  ...{ seconds: number, images: number, waited: number, decodeSeconds: number, transformSeconds: number },
})
const stage = z.object({
  ...{ stage: count, steps: number, searchSteps: number, seconds: number, searchSeconds: number, flops: number },
  subnetwork,
})
const accuracies = z.array(z.object({ decay: number, top1: number, top5: number, loss: number.nullable() }))

const trainerState = z.object({
  ...{ step: count, stage: number.int().min(-1), grownAt: number.int().min(-1), blocks, subnetwork },
  ...{ searching: z.boolean(), epochDue: z.boolean(), previous: subnetwork.optional() },
  search: z.object({ times: lists, losses: lists }).optional(),
  tuner: z.record(z.string(), z.object({ trials: lists })),
  tally: z.object({
    ...{ stages: z.array(stage), totalSeconds: number, skippedSteps: number.nullable(), work },
    cooldown: z.object({ steps: number, flops: number }).optional(),
    epoch: work.extend({ loss: number, steps: number }),
  }),
  lastEpoch: z
    .looseObject({ top1: number.nullable(), top5: number.nullable(), testLoss: number.nullable(), emas: accuracies })
    .optional(),
  best: z
    .object({ epoch: count, average: number.nullable(), top1: number, on: z.enum(['validation', 'test']) })
    .optional(),
})

const split = z.object({ images: count, fingerprint: z.string() })
const dataIdentity = z.object({
  classes: z.array(z.string()),
  ...{ train: split, validation: split.optional(), test: split },
})

export const isTrainerState = (value: unknown): value is TrainerState => trainerState.safeParse(value).success

/** A state as it would be had the work of the loader always been counted: early checkpoints are without. */
export function withWork(state: unknown): unknown {
  const { tally } = (state ?? {}) as { tally?: { work?: unknown; epoch?: object } }
  if (tally?.work !== undefined || tally?.epoch === undefined) return state
  return { ...(state as object), tally: { ...tally, work: noWork(), epoch: { ...noWork(), ...tally.epoch } } }
}

export const isDataIdentity = (value: unknown): value is DataIdentity => dataIdentity.safeParse(value).success
