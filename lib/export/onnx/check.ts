/** Whether an ONNX file is what it should be, before anybody relies on it. */
import { AutoprogError } from '../../errors.js'
import { decodeModel } from './schema.js'

const widths: Readonly<Record<number, number>> = { 1: 4, 2: 1, 7: 8 }

/** Reads the bytes back: every value that a node takes is there before it, once, and constants have their sizes. Throws CONFIG. */
export function checkExported(bytes: Uint8Array): void {
  const { graph } = decodeModel(bytes)
  const fail = (what: string): never => {
    throw new AutoprogError('CONFIG', `The ONNX graph is not sound: ${what}`)
  }
  const known = new Set<string>(['']) // an input that is left out
  const define = (name: string) => (known.has(name) ? fail(`${name} is there twice`) : known.add(name))
  for (const { name } of graph.input) define(name)
  for (const { name, dims, dataType, rawData } of graph.initializer) {
    define(name)
    const size = dims.reduce((product, extent) => product * extent, widths[dataType] ?? 0)
    if (size !== rawData.length) fail(`${name} has ${rawData.length} bytes instead of ${size}`)
  }
  for (const { name, input, output } of graph.node) {
    for (const each of input) if (!known.has(each)) fail(`${name} takes ${each}, which is not there before it`)
    for (const each of output) define(each)
  }
  for (const { name } of graph.output) if (!known.has(name)) fail(`the output ${name} is not there`)
}
