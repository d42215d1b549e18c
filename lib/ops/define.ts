import type { Attributes, Op } from '../graph/graph.js'
import { shapeError } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'

const registry = new Map<string, Op>()

/** Declares an op once. */
export function defineOp<A extends Attributes>(name: string, definition: Omit<Op<A>, 'name'>): Op<A> {
  const op: Op<A> = { name, ...definition }
  registry.set(name, op as unknown as Op)
  return op
}

export function definedOps(): readonly Op[] {
  return [...registry.values()]
}

export const noCost = () => 0

/** The four extents of images or maps (B, H, W, C). Throws SHAPE for anything else, naming op and argument. */
export function mapExtents(op: string, argument: string, { shape }: Tensor): [number, number, number, number] {
  if (shape.length !== 4 || shape.some((extent) => extent < 1))
    throw shapeError(op, argument, '[batch, height, width, channels]', shape)
  return shape as unknown as [number, number, number, number]
}
