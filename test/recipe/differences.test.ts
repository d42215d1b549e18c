import { parse, stringify } from 'yaml'
import { resolveConfig } from '../../lib/recipe/config.js'
import { recipeDifferences } from '../../lib/recipe/differences.js'
import { test } from '../serial.js'

const config = resolveConfig({ data: 'mnist', model: 'vit_micro' })

/** The same mapping with the keys of every level in reverse order. */
function turned(value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, inner]) => [key, turned(inner)]),
  )
}

test('a recipe is equal to itself, whatever the order of its keys and the file it came from', (t) => {
  t.deepEqual(recipeDifferences(config, turned(config)), [])
  t.deepEqual(recipeDifferences(config, parse(stringify(turned(config)))), [])
  t.deepEqual(recipeDifferences(JSON.parse(JSON.stringify(turned(config))), config), [])
  t.deepEqual(recipeDifferences({ a: undefined }, {}), [])
})

test('every difference is named by its dotted key with both values', (t) => {
  const other = {
    ...config,
    epochs: 21,
    ema: { decays: [0.9] },
    tokenLabels: { maps: null },
    schedule: { ...config.schedule, ratio: 0.5 },
  }
  t.deepEqual(recipeDifferences(config, other), [
    'ema.decays: [0.998,0.9986,0.999,0.9996] and [0.9]',
    'epochs: 20 and 21',
    'schedule.ratio: 0.4 and 0.5',
    'tokenLabels: null and {"maps":null}',
  ])
  t.deepEqual(recipeDifferences({ schedule: { a: 1 } }, { schedule: { b: 'x' } }), [
    'schedule.a: 1 and none',
    'schedule.b: none and "x"',
  ])
})

test('lists are compared as wholes, in order, and their mappings by value', (t) => {
  t.deepEqual(recipeDifferences({ s: [{ l: 1, n: 0.5 }] }, { s: [{ n: 0.5, l: 1 }] }), [])
  t.deepEqual(recipeDifferences({ s: [1, 2] }, { s: [2, 1] }), ['s: [1,2] and [2,1]'])
})

test('what is no mapping differs as a whole', (t) => {
  t.deepEqual(recipeDifferences(1, 1), [])
  t.deepEqual(recipeDifferences({ a: 1 }, null), ['the recipe: {"a":1} and null'])
})
