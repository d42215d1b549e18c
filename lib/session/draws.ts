/** Random numbers that the device draws: which programs need them, and the address that a batch's draws have. */
import { AutoprogError, expected } from '../errors.js'
import type { Graph } from '../graph/graph.js'
import { addInput } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import type { Values } from '../native.js'
import type { ProgramRequest } from './request.js'

/** Whether a program draws random numbers, and so has to be told where they are. */
export function drawsOnDevice({ erase, keep }: Pick<ProgramRequest, 'erase' | 'keep'>): boolean {
  return erase || typeof keep !== 'string'
}

export interface Draws {
  /** Seed and step (4). */
  readonly random: Tensor
  /** Places in the whole batch (B). */
  readonly index: Tensor
}

export function drawsOf(graph: Graph, microBatch: number): Draws {
  return {
    random: addInput(graph, 'random', [4], 'i32', false),
    index: addInput(graph, 'index', [microBatch], 'i32'),
  }
}

/** Where the device's draws of this batch are: seed and step, and each image's place in the batch. */
export function addressOf(step = 0, batch: number, seed: number): Values {
  if (!Number.isSafeInteger(step) || step < 0)
    throw new AutoprogError('CONFIG', expected('a non-negative integer', 'step', step))
  const halves = (value: number) => [value | 0, Math.floor(value / 2 ** 32) | 0]
  const random = Int32Array.from([...halves(seed), ...halves(step)])
  return { random, index: Int32Array.from({ length: batch }, (_, image) => image) }
}
