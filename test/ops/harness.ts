import type { ExecutionContext } from 'ava'
import { differentiate } from '../../lib/graph/autodiff.js'
import { compile } from '../../lib/graph/compile.js'
import type { Graph } from '../../lib/graph/graph.js'
import { addInput, addOutput, addTensor, createGraph } from '../../lib/graph/graph.js'
import { lowerPrecision } from '../../lib/graph/precision.js'
import type { LowType, Tensor } from '../../lib/graph/tensor.js'
import { sizeOf } from '../../lib/graph/tensor.js'
import type { Device, TypedArray, Values } from '../../lib/native.js'
import { addon } from '../../lib/native.js'
import { add, cast } from '../../lib/ops/index.js'
import { draw, Purpose, toUnit } from '../../lib/random.js'
import { assertClose } from '../golden.js'

/** One declaration of a case serves golden comparison and finite differences, on every backend. */
export interface OpCase {
  readonly name: string
  readonly inputs: Readonly<Record<string, OpInput>>
  /** Inputs that have no gradient; those among the parameters must leave the gradients' arena alone. */
  readonly constants?: Readonly<Record<string, OpInput>>
  /** Builds the op from its inputs and constants; returns the tensors whose values and gradients are looked at. */
  build(graph: Graph, inputs: Readonly<Record<string, Tensor>>): Record<string, Tensor>
}

export interface OpInput {
  readonly shape: readonly number[]
  readonly values: TypedArray
  /** Parameters lie in the weights arena and accumulate their gradient there. */
  readonly parameter?: boolean
}

export interface OpResult {
  outputs: Record<string, Float32Array>
  /** Of the sum of y * dy over the outputs that have a dy; by input. */
  gradients: Record<string, Float32Array>
  /** What lies in the weights arena after the run; by input or constant. */
  parameters: Record<string, Float32Array>
}

const guard = 64 // elements kept free on both sides of every parameter, to see a write out of bounds
const guardValue = 12345.5

/** Runs a case once, in reduced precision with `low`. With `seeds` (dy by output) also its gradients. */
export async function runCase(
  t: ExecutionContext,
  device: Device,
  { inputs, constants = {}, build, name }: OpCase,
  seeds: Record<string, Float32Array> = {},
  low?: LowType,
): Promise<OpResult> {
  const graph = createGraph()
  const tensors: Record<string, Tensor> = {}
  const values: Values = {}
  const places = new Map<string, number>()
  const given = { ...inputs, ...constants }
  let size = guard
  for (const [key, { shape, values: data, parameter }] of Object.entries(given)) {
    if (parameter) {
      places.set(key, size)
      tensors[key] = addTensor(graph, key, shape, { arena: 'weights', offset: size })
      size += Math.ceil(sizeOf(shape) / 16) * 16 + guard // kernels load up to 16 bytes as one
    } else {
      const type = data instanceof Float32Array ? 'f32' : data instanceof Int32Array ? 'i32' : 'u8'
      tensors[key] = addInput(graph, key, shape, type, false)
      values[key] = data
    }
  }
  const outputs = build(graph, tensors)
  for (const [key, tensor] of Object.entries(outputs)) addOutput(graph, `y ${key}`, tensor, false)
  const floats = Object.keys(inputs).filter((key) => !inputs[key]!.parameter && tensors[key]!.type === 'f32')
  const backward = Object.keys(seeds).length > 0
  if (backward) {
    const starts = Object.entries(seeds).map(([key, dy]) => {
      const gradient = addInput(graph, `dy ${key}`, outputs[key]!.shape, 'f32', false)
      values[`dy ${key}`] = dy
      return { tensor: outputs[key]!, gradient }
    })
    const wanted = differentiate(
      graph,
      starts,
      add,
      floats.map((key) => tensors[key]!),
    )
    for (const [index, gradient] of wanted.entries()) addOutput(graph, `d ${floats[index]}`, gradient, false)
  }
  // Activations, weights, gradients, no moments or steps, the weights' 16-bit copy.
  const session = await addon().createSession(device.handle, [0, 4 * size, 4 * size, 0, 0, 0, 2 * size])
  const weights = new Float32Array(size).fill(guardValue)
  const gradients = new Float32Array(size).fill(guardValue)
  for (const [key, offset] of places) {
    weights.set(given[key]!.values, offset)
    if (key in inputs) gradients.fill(0, offset, offset + given[key]!.values.length)
  }
  await addon().writeArena(session, 1, 0, weights)
  await addon().writeArena(session, 2, 0, gradients)
  const program = await addon().createProgram(session, compile(low ? lowerPrecision(graph, low, cast) : graph, 1, 1))
  const results = await addon().runProgram(program, values)
  const after = (await addon().readArena(session, 2, 0, 'f32', size)) as Float32Array
  const weightsAfter = (await addon().readArena(session, 1, 0, 'f32', size)) as Float32Array
  addon().closeProgram(program)
  addon().closeSession(session)
  const result: OpResult = { outputs: {}, gradients: {}, parameters: {} }
  const partOf = (arena: Float32Array, key: string, offset: number) =>
    arena.slice(offset, offset + given[key]!.values.length)
  for (const [key, offset] of places) result.parameters[key] = partOf(weightsAfter, key, offset)
  for (const key of Object.keys(outputs)) result.outputs[key] = results[`y ${key}`] as Float32Array
  if (backward) {
    for (const key of floats) result.gradients[key] = results[`d ${key}`] as Float32Array
    for (const [key, offset] of places) if (key in inputs) result.gradients[key] = partOf(after, key, offset)
  }
  const touched = (arena: Float32Array, keys: object) => {
    const free = arena.slice()
    for (const [key, offset] of places)
      if (key in keys) free.fill(guardValue, offset, offset + given[key]!.values.length)
    return free.some((value) => value !== guardValue)
  }
  t.true(!touched(after, inputs), `${name} writes outside of its gradients`)
  t.true(!touched(weightsAfter, given), `${name} writes outside of its parameters`)
  return result
}

/** Values in ±`scale`, the same at every run. */
export function randomValues(shape: readonly number[], seed: number, scale = 1): Float32Array {
  return Float32Array.from(
    { length: sizeOf(shape) },
    (_, index) => (2 * toUnit(draw(seed, Purpose.initialization, 0, index)[0]) - 1) * scale,
  )
}

/**
 * Compares the gradients of sum(y * dy) with central differences along random directions. The step balances the f32
 * rounding of the outputs (about 1e-7 of their size over h) against the curvature (h^2): 1e-2 leaves about 1e-3.
 */
export async function checkGradients(
  t: ExecutionContext,
  device: Device,
  opCase: OpCase,
  tolerance = 5e-3,
): Promise<void> {
  const { outputs } = await runCase(t, device, opCase)
  const seeds = Object.fromEntries(
    Object.entries(outputs).map(([key, y], index) => [key, randomValues([y.length], 77 + index)]),
  )
  const { gradients } = await runCase(t, device, opCase, seeds)
  const h = 1e-2
  let direction = 1000
  for (const [key, gradient] of Object.entries(gradients)) {
    const input = opCase.inputs[key]!
    const along = randomValues(input.shape, direction++)
    const shifted = async (sign: number) => {
      const values = Float32Array.from(input.values, (value, index) => value + sign * h * along[index]!)
      const result = await runCase(t, device, { ...opCase, inputs: { ...opCase.inputs, [key]: { ...input, values } } })
      return Object.entries(seeds).reduce((sum, [name, dy]) => sum + dot(dy, result.outputs[name]!), 0)
    }
    const wanted = ((await shifted(1)) - (await shifted(-1))) / (2 * h)
    const scale = Math.sqrt(dot(gradient, gradient)) * Math.sqrt(dot(along, along)) + 1e-3
    t.true(
      Math.abs(dot(gradient, along) - wanted) <= tolerance * scale,
      `${opCase.name}: gradient of ${key} along a direction is ${dot(gradient, along)} instead of ${wanted}`,
    )
  }
}

export interface Wanted {
  readonly y: Float32Array
  readonly dy: Float32Array
  readonly gradients: ReadonlyMap<string, Float32Array>
}

/** Compares a case with golden values of its output and of the gradients of sum(y * dy). */
export async function checkGolden(t: ExecutionContext, device: Device, opCase: OpCase, wanted: Wanted): Promise<void> {
  compareGolden(t, opCase.name, await runCase(t, device, opCase, { y: wanted.dy }), wanted)
}

export function compareGolden(
  t: ExecutionContext,
  name: string,
  { outputs, gradients }: OpResult,
  wanted: Wanted,
): void {
  assertClose(t, outputs.y!, wanted.y, 1e-5, `${name} y`)
  t.true(wanted.gradients.size > 0)
  for (const [key, values] of wanted.gradients)
    assertClose(t, gradients[key]!, values, 1e-5, `${name} gradient of ${key}`)
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!
  return sum
}
