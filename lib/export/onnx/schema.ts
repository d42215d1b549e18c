/** ONNX's messages, by its published schema (schemas/onnx.proto, of ONNX 1.23). */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import protobuf from 'protobufjs'
import { packageRoot } from '../../package.js'

/** Element types of TensorProto that are written. */
export const types = { float: 1, uint8: 2, int64: 7 } as const

export interface AttributeProto {
  name: string
  /** 1 float, 2 integer, 3 text, 6 floats, 7 integers. */
  type: 1 | 2 | 3 | 6 | 7
  f?: number
  i?: number
  s?: Uint8Array
  floats?: readonly number[]
  ints?: readonly number[]
}

export interface NodeProto {
  opType: string
  name: string
  input: readonly string[]
  output: readonly string[]
  attribute: readonly AttributeProto[]
}

export interface TensorProto {
  name: string
  dims: readonly number[]
  dataType: number
  rawData: Uint8Array
}

export interface ValueProto {
  name: string
  type: { tensorType: { elemType: number; shape: { dim: readonly ({ dimValue: number } | { dimParam: string })[] } } }
}

export interface ModelProto {
  irVersion: number
  producerName: string
  producerVersion: string
  opsetImport: readonly { domain: string; version: number }[]
  metadataProps: readonly { key: string; value: string }[]
  graph: {
    name: string
    node: readonly NodeProto[]
    initializer: readonly TensorProto[]
    input: readonly ValueProto[]
    output: readonly ValueProto[]
  }
}

let message: protobuf.Type | undefined

function modelType(): protobuf.Type {
  message ??= protobuf
    .parse(readFileSync(join(packageRoot(), 'schemas', 'onnx.proto'), 'utf8'))
    .root.lookupType('onnx.ModelProto')
  return message
}

export function encodeModel(model: ModelProto): Uint8Array {
  const type = modelType()
  return type.encode(type.fromObject(model)).finish()
}

/** Throws where the bytes are no model. */
export function decodeModel(bytes: Uint8Array): ModelProto {
  const type = modelType()
  return type.toObject(type.decode(bytes), { longs: Number, defaults: true }) as ModelProto
}

/** The attribute of a node: a number that is whole is an integer, unless it is said to be a float. */
export function attribute(
  name: string,
  value: number | string | readonly number[] | { float: number },
): AttributeProto {
  if (typeof value === 'string') return { name, type: 3, s: Buffer.from(value) }
  if (typeof value === 'number') return { name, type: 2, i: value }
  if ('float' in value) return { name, type: 1, f: value.float }
  return { name, type: 7, ints: value }
}
