import type { ExecutionContext } from 'ava'
import type { SearchLog, SearchOptions, SearchState } from '../../lib/growth/search.js'
import { candidateAt, createSearch, replaySearch } from '../../lib/growth/search.js'
import { growthSpace, searchSpace } from '../../lib/growth/space.js'
import { assertClose, goldenJson } from '../golden.js'
import { test } from '../serial.js'
import { layered } from './tables.js'

const { rows } = await goldenJson<{
  rows: { times: number[]; losses: number[]; w: number; scores: number[]; winner: number }[]
}>('search_objective')

const candidates = searchSpace(growthSpace(layered(12, 224, 32), 4, 0.5), 1)
const options: SearchOptions = {
  candidates,
  flops: candidates.map(({ depth, resolution }) => depth * resolution ** 2),
  firstStep: 300,
  steps: 200,
  stepsPerEpoch: 100,
  seed: 7,
  time: 'median',
}
const optionsFor = (count: number): SearchOptions => ({
  ...options,
  candidates: candidates.slice(0, count),
  flops: options.flops.slice(0, count),
})
const evaluationSteps = (part: Partial<SearchOptions>) => {
  const given = { ...options, ...part }
  const search = createSearch(given)
  const asked: number[] = []
  for (let step = given.firstStep - 5; step < given.firstStep + given.steps + 5; step++)
    if (search.evaluatesBefore(step)) {
      asked.push(step)
      search.recordLosses(given.candidates.map(() => 1))
    }
  return asked
}

/** A log as a trainer would write it: noisy times whose medians and firsts are the row's, losses with the row's means. */
function logOf(t: ExecutionContext, { times, losses }: (typeof rows)[number]): SearchLog {
  const seen = times.map(() => 0)
  const search = createSearch(optionsFor(times.length))
  const log: SearchLog[number][] = []
  let evaluation = 0
  for (let step = options.firstStep; step < options.firstStep + options.steps; step++) {
    if (search.evaluatesBefore(step)) {
      const shift = evaluation++ - 2
      log.push({ losses: losses.map((loss) => loss + 0.1 * shift) })
      search.recordLosses(losses)
    }
    const candidate = search.candidateOf(step)
    const slow = seen[candidate]!++ % 4 === 3
    log.push({ step, seconds: times[candidate]! * (slow ? 5 : 1) })
  }
  t.true(seen.every((count) => count > 3))
  return log
}

test('the winners of every table, from logs of whole searches', (t) => {
  for (const row of rows)
    for (const time of ['median', 'once'] as const) {
      const given = { ...optionsFor(row.times.length), time }
      const { candidates: results, exponent, chosen } = replaySearch(given, logOf(t, row)).decide()
      t.is(chosen, row.winner)
      t.true(Math.abs(exponent - row.w) <= 1e-5 * row.w)
      assertClose(
        t,
        results.map(({ score }) => score),
        row.scores,
        1e-6,
        'scores',
      )
      for (const [index, result] of results.entries()) {
        t.is(result.seconds, row.times[index])
        t.true(Math.abs(result.score - result.loss * result.seconds ** exponent) < 1e-12)
        const { depth, resolution, l, n } = candidates[index]!
        t.deepEqual([result.depth, result.resolution, result.l, result.n], [depth, resolution, l, n])
        t.is(result.flops, options.flops[index])
      }
    }
})

test('interrupted anywhere and restored from JSON, a search goes on as it would have', (t) => {
  const row = rows[1]!
  const log = logOf(t, row)
  const given = optionsFor(row.times.length)
  const undisturbed = replaySearch(given, log)
  for (let cut = 0; cut <= log.length; cut += 7) {
    const stored = JSON.parse(JSON.stringify(replaySearch(given, log.slice(0, cut)).state())) as SearchState
    const search = createSearch(given, stored)
    for (const entry of log.slice(cut))
      if ('losses' in entry) search.recordLosses(entry.losses)
      else search.recordTime(search.candidateOf(entry.step), entry.seconds)
    t.deepEqual(search.decide(), undisturbed.decide())
    t.deepEqual(search.state(), undisturbed.state())
  }
})

test('a restored search does not ask again for evaluations that it has', (t) => {
  const search = createSearch(options)
  t.true(search.evaluatesBefore(400))
  search.recordLosses(candidates.map(() => 1))
  t.true(!search.evaluatesBefore(400))
  const restored = createSearch(options, search.state())
  t.true(!restored.evaluatesBefore(400))
  t.true(restored.evaluatesBefore(420))
})

test('the state is a copy', (t) => {
  const search = createSearch(options)
  const before = search.state()
  search.recordTime(0, 1)
  t.deepEqual(before.times[0], [])
  const restored = createSearch(options, before)
  restored.recordTime(0, 2)
  t.deepEqual([before.times[0], search.state().times[0], restored.state().times[0]], [[], [1], [2]])
})

test('candidates are evaluated at the start of the last search epoch and four times more in it', (t) => {
  t.deepEqual(evaluationSteps({}), [400, 420, 440, 460, 480])
  t.deepEqual(evaluationSteps({ steps: 300 }), [500, 520, 540, 560, 580])
  t.deepEqual(evaluationSteps({ firstStep: 0, steps: 2502, stepsPerEpoch: 1251 }), [1251, 1501, 1751, 2001, 2251])
})

test('searches shorter than two epochs evaluate in their second half', (t) => {
  t.deepEqual(evaluationSteps({ steps: 160, stepsPerEpoch: 468 }), [380, 396, 412, 428, 444])
  t.deepEqual(evaluationSteps({ steps: 150 }), [375, 390, 405, 420, 435])
  t.deepEqual(evaluationSteps({ firstStep: 0, steps: 11, stepsPerEpoch: 468 }), [5, 6, 7, 8, 9])
  // Fewer steps than evaluations: one before each.
  t.deepEqual(evaluationSteps({ firstStep: 0, steps: 4, stepsPerEpoch: 468 }), [2, 3])
  t.deepEqual(evaluationSteps({ firstStep: 9, steps: 1, stepsPerEpoch: 468 }), [9])
})

test('steps draw candidates uniformly, and by seed and step alone', (t) => {
  for (const count of [2, 8, 9]) {
    const counts = Array<number>(count).fill(0)
    const draws = 9000
    for (let step = 0; step < draws; step++) counts[candidateAt(3, step, count)]!++
    const wanted = draws / count
    const chiSquare = counts.reduce((sum, found) => sum + (found - wanted) ** 2 / wanted, 0)
    t.true(chiSquare < 27.9, `${counts} (chi square ${chiSquare})`) // 0.9995 quantile of 9 degrees of freedom and more
  }
  const sequence = (seed: number) => Array.from({ length: 50 }, (_, step) => candidateAt(seed, 300 + step, 9))
  t.notDeepEqual(sequence(7), sequence(8))
  const search = createSearch(options)
  t.deepEqual(
    Array.from({ length: 50 }, (_, step) => search.candidateOf(300 + step)),
    sequence(7),
  )
})

test('by multiply-adds nothing depends on the clock', (t) => {
  const losses = candidates.map((_, index) => 3 - 0.05 * index)
  const decide = (seconds: number) => {
    const search = createSearch({ ...options, time: 'flops' })
    for (const index of candidates.keys()) search.recordTime(index, seconds * (1 + index))
    search.recordLosses(losses)
    return search.decide()
  }
  t.deepEqual(decide(0.1), decide(7))
  const { candidates: results, exponent } = decide(0.1)
  t.true(exponent > 0)
  for (const { seconds, flops } of results) t.is(seconds, flops / 1e9)
})

test('a candidate that no step drew is timed by what it computes', (t) => {
  const search = createSearch(options)
  for (const index of candidates.keys()) if (index !== 4) search.recordTime(index, 3e-9 * options.flops[index]!)
  search.recordLosses(candidates.map(() => 2))
  const { seconds, flops } = search.decide().candidates[4]!
  t.true(Math.abs(seconds - 3e-9 * flops) < 1e-12)
  const untimed = createSearch(options)
  untimed.recordLosses(candidates.map((_, index) => 2 + index))
  t.is(untimed.decide().chosen, 0)
})

test('median of an even number of times, and the first', (t) => {
  for (const [time, wanted] of [
    ['median', 2.5],
    ['once', 4],
  ] as const) {
    const search = createSearch({ ...options, time })
    for (const seconds of [4, 1, 3, 2]) search.recordTime(0, seconds)
    search.recordLosses(candidates.map(() => 1))
    t.is(search.decide().candidates[0]!.seconds, wanted)
  }
})

test('what a search refuses', (t) => {
  const refused = (part: Partial<SearchOptions>) =>
    t.throws(() => createSearch({ ...options, ...part }), { code: 'CONFIG' }, JSON.stringify(part))
  refused({ candidates: [] })
  refused({ flops: [1, 2] })
  refused({ flops: options.flops.map(() => 0) })
  for (const steps of [0, -1, 1.5, Number.NaN]) refused({ steps })
  refused({ firstStep: -1 })
  refused({ stepsPerEpoch: 0 })
  const search = createSearch(options)
  for (const seconds of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
    t.throws(() => search.recordTime(0, seconds), { code: 'CONFIG', message: /positive time/ })
  for (const candidate of [-1, 9, 0.5]) t.throws(() => search.recordTime(candidate, 1), { code: 'CONFIG' })
  t.throws(() => search.recordLosses([1, 2]), { code: 'CONFIG', message: /9 losses/ })
  t.throws(() => search.decide(), { code: 'CONFIG', message: /without an evaluation/ })
  search.recordLosses(candidates.map((_, index) => (index === 3 ? Number.NaN : 1)))
  t.throws(() => search.decide(), { code: 'NUMERIC', message: /NaN/ })
})

test('stored searches of other candidates', (t) => {
  const { times, losses } = createSearch(options).state()
  for (const stored of [
    { times: times.slice(1), losses },
    { times, losses: [[1, 2]] },
    { times: [...times.slice(1), ['1']], losses },
    { times },
    {},
  ])
    t.throws(() => createSearch(options, stored as unknown as SearchState), { code: 'CHECKPOINT' })
})
