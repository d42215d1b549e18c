import type { Golden } from '../golden.js'
import { goldenJson, goldenTensors } from '../golden.js'
import type { OpCase, OpInput, Wanted } from './harness.js'

export interface GoldenOp {
  name: string
  op: string
  attributes: Record<string, number | string | boolean>
  inputs: Record<string, number[]>
}

export interface GoldenCase {
  facts: GoldenOp
  inputs: Record<string, OpInput>
  wanted: Wanted
}

/** All golden cases of one op of test/golden/ops; inputs named in `parameters` become parameters. */
export async function goldenCases(op: string, parameters: readonly string[]): Promise<GoldenCase[]> {
  const { cases } = await goldenJson<{ cases: GoldenOp[] }>('ops')
  const golden = await goldenTensors('ops')
  return cases.filter((facts) => facts.op === op).map((facts) => goldenCase(golden, facts, parameters))
}

function goldenCase(golden: Golden, facts: GoldenOp, parameters: readonly string[]): GoldenCase {
  const inputs: Record<string, OpInput> = {}
  for (const [key, shape] of Object.entries(facts.inputs))
    inputs[key] = { shape, values: golden.floats(`${facts.name}/${key}`), parameter: parameters.includes(key) }
  const gradients = golden.group(`${facts.name}/grad/`)
  return {
    facts,
    inputs,
    wanted: { y: golden.floats(`${facts.name}/y`), dy: golden.floats(`${facts.name}/dy`), gradients },
  }
}

/** A case under test from a golden one. */
export function caseOf({ facts, inputs }: GoldenCase, build: OpCase['build']): OpCase {
  return { name: facts.name, inputs, build }
}
