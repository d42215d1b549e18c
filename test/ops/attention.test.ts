import { attention, classAttention, linear, selectToken } from '../../lib/ops/index.js'
import { openTestDevice } from '../device.js'
import { test } from '../serial.js'
import { caseOf, goldenCases } from './golden-cases.js'
import { checkGolden, checkGradients, randomValues } from './harness.js'

const device = await openTestDevice()
const attentionCases = await goldenCases('attention', [])
const classAttentionCases = await goldenCases('class_attention', ['kv_weight', 'q_weight', 'proj_weight', 'proj_bias'])
test.after.always(() => device.close())

for (const golden of attentionCases)
  test(`attention: ${golden.facts.name}`, (t) =>
    checkGolden(
      t,
      device,
      caseOf(golden, (graph, { qkv }) => ({ y: attention(graph, qkv!, Number(golden.facts.attributes.heads)) })),
      golden.wanted,
    ))
for (const golden of classAttentionCases)
  test(`attention: ${golden.facts.name}`, (t) =>
    checkGolden(
      t,
      device,
      caseOf(golden, (graph, { x, kv_weight, q_weight, proj_weight, proj_bias }) => {
        const q = linear(graph, selectToken(graph, x!), q_weight!)
        const y = classAttention(graph, q, linear(graph, x!, kv_weight!), Number(golden.facts.attributes.heads))
        return { y: linear(graph, y, proj_weight!, proj_bias!) }
      }),
      golden.wanted,
    ))
// Around the tile of 96 queries, and head sizes that no vector width divides.
for (const [tokens, heads, size] of [
  [1, 1, 1],
  [50, 2, 16],
  [96, 1, 7],
  [97, 1, 32],
  [197, 2, 12],
] as const) {
  const shape = [2, tokens, 3 * heads * size]
  test(`attention: finite differences, ${tokens} tokens, ${heads} heads of ${size}`, (t) =>
    checkGradients(t, device, {
      name: 'attention',
      inputs: { qkv: { shape, values: randomValues(shape, 5) } },
      build: (graph, { qkv }) => ({ y: attention(graph, qkv!, heads) }),
    }))
}
