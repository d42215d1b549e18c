import type { Attributes, Op } from '../graph/graph.js'

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
