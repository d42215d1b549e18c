/** A value of a graph: a shape, an element type and, where it is not an activation, a fixed place in an arena. */

export type ElementType = 'f32' | 'i32' | 'u8' | LowType
/** Types of half the size, for what reduced precision computes. */
export type LowType = 'bf16' | 'f16'
export type Shape = readonly number[]

/**
 * The arenas of a session. Activations get their offsets from the memory plan; all others hold one value per parameter
 * element, at the same offset in each (`steps`: one i32 per parameter; `low`: the weights in reduced precision, written
 * anew by each program that reads them; `scaling`: the loss scale and what it depends on).
 */
export type Arena = ParameterArena | 'activations' | 'steps' | 'low' | 'scaling'
/** Those with an f32 for every parameter element. */
export type ParameterArena = 'weights' | 'gradients' | 'moment1' | 'moment2' | `ema${number}`

export interface Tensor {
  readonly id: number
  readonly name: string
  readonly shape: Shape
  readonly type: ElementType
  readonly arena: Arena
  /** First element within the arena; -1 for activations until the memory plan places them. */
  readonly offset: number
}

export interface TensorSpecification {
  readonly shape: Shape
  readonly type?: ElementType
}

export function sizeOf(shape: Shape): number {
  return shape.reduce((product, extent) => product * extent, 1)
}

const elementBytes: Record<ElementType, number> = { f32: 4, i32: 4, u8: 1, bf16: 2, f16: 2 }

export function bytesOf(tensor: { shape: Shape; type: ElementType }): number {
  return sizeOf(tensor.shape) * elementBytes[tensor.type]
}

/** Byte of the first element within the arena. */
export function byteOffsetOf(tensor: Tensor): number {
  return tensor.offset * elementBytes[tensor.type]
}

/** All axes but the last, multiplied. */
export function rowsOf(tensor: Tensor): number {
  return sizeOf(tensor.shape.slice(0, -1))
}

export function lastOf(tensor: Tensor): number {
  return tensor.shape.at(-1) ?? 1
}

export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`
}
