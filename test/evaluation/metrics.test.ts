import { collectGuesses, toProbabilities } from '../../lib/evaluation/guesses.js'
import { metricsOf } from '../../lib/evaluation/metrics.js'
import { goldenJson } from '../golden.js'
import { test } from '../serial.js'

/** Computed by scikit-learn 1.x of random logits; class 5 is never guessed, class 6 never occurs. */
interface Golden {
  classes: number
  logits: number[]
  truths: number[]
  precision: number[]
  recall: number[]
  f1: number[]
  support: number[]
  macro: number[]
  confusion: number[][]
  top1: number
  top5: number
  ece: number
}
const golden = await goldenJson<Golden>('metrics')
const names = Array.from({ length: golden.classes }, (_, index) => `class ${index}`)

function guessesOf(logits: readonly number[], truths: readonly number[], classes: number, batch = truths.length) {
  const found = collectGuesses(truths.length, classes)
  for (let at = 0; at < truths.length; at += batch)
    found.add(
      toProbabilities(Float32Array.from(logits.slice(at * classes, (at + batch) * classes)), classes),
      Int32Array.from(truths.slice(at, at + batch)),
    )
  return found.result()
}

test('every figure is scikit-learn’s, whatever the batches', (t) => {
  const close = (actual: number, wanted: number, what: string) =>
    t.true(Math.abs(actual - wanted) < 1e-5, `${what}: ${actual}, ${wanted}`)
  for (const batch of [7, 200]) {
    const found = metricsOf(guessesOf(golden.logits, golden.truths, golden.classes, batch), names)
    t.is(found.images, 200)
    for (const [index, { name, precision, recall, f1, support }] of found.classes.entries()) {
      close(precision, golden.precision[index]!, name)
      close(recall, golden.recall[index]!, name)
      close(f1, golden.f1[index]!, name)
      t.is(support, golden.support[index])
    }
    const { precision, recall, f1 } = found.macro
    for (const [index, value] of [precision, recall, f1].entries()) close(value, golden.macro[index]!, 'macro')
    close(found.top1, golden.top1, 'top-1')
    close(found.top5, golden.top5, 'top-5')
    close(found.calibrationError, golden.ece, 'calibration')
    const table = golden.confusion.flatMap((row, truth) =>
      row.flatMap((images, guess) => (images === 0 ? [] : [[truth, guess, images]])),
    )
    t.deepEqual(found.confusion as unknown, table)
    const worst = Math.max(...table.filter(([truth, guess]) => truth !== guess).map(([, , images]) => images!))
    t.is(found.confused[0]!.images, worst)
    t.is(found.confused.length, 10)
    t.is(
      found.calibration.reduce((sum, { images }) => sum + images, 0),
      200,
    )
  }
})

test('of equal logits the first class is the guess, and the others rank in their order', (t) => {
  const { guesses, ranks } = guessesOf([1, 1, 1, 0, 2, 2], [2, 1], 3)
  t.deepEqual([...guesses], [0, 1])
  t.deepEqual([...ranks], [2, 0])
})

test('a perfect classifier has nothing confused, and no images have no figures', (t) => {
  const perfect = metricsOf(guessesOf([9, 0, 0, 9], [0, 1], 2), ['a', 'b'])
  t.deepEqual([perfect.top1, perfect.confused, perfect.macro], [1, [], { precision: 1, recall: 1, f1: 1 }])
  const none = metricsOf(guessesOf([], [], 2), ['a', 'b'])
  t.deepEqual([none.top1, none.macro.f1, none.calibrationError], [0, 0, 0])
})
