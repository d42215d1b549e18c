import { chooseHeldOut } from '../../../lib/data/source/hold-out.js'
import { draw, Purpose } from '../../../lib/random.js'
import { test } from '../../serial.js'

interface Image {
  readonly label: number
  readonly name: string
}

const classes = ['ant', 'bee', 'cat']
const choose = (images: readonly Image[], share = 0.1, seed = 0) =>
  chooseHeldOut(
    { labels: Int32Array.from(images, ({ label }) => label), classes, nameOf: (index) => images[index]!.name },
    share,
    seed,
  )
const named = (label: number, count: number, first = 0): Image[] =>
  Array.from({ length: count }, (_, i) => ({ label, name: `${classes[label]}/IMG_${first + i}.jpg` }))
const heldOf = (images: readonly Image[], held: Uint8Array) => images.filter((_, index) => held[index] === 1)

test('about the share of each class is held out, chosen by names and seed alone', (t) => {
  for (const share of [0.05, 0.1, 0.3]) {
    const images = [...named(0, 4000), ...named(1, 2000)]
    const held = heldOf(images, choose(images, share))
    for (const [label, count] of [4000, 2000].entries()) {
      const found = held.filter((image) => image.label === label).length
      const deviation = Math.sqrt(count * share * (1 - share))
      t.true(Math.abs(found - count * share) < 3 * deviation, `${found} of ${count} at ${share}`)
    }
  }
  const images = [...named(0, 200), ...named(1, 200)]
  const held = heldOf(images, choose(images))
  t.deepEqual(heldOf(images.toReversed(), choose(images.toReversed())).reverse(), held, 'order does not matter')
  t.notDeepEqual(heldOf(images, choose(images, 0.1, 1)), held)
  const numbers = (label: number) =>
    held.filter((image) => image.label === label).map(({ name }) => name.replace(/^\w+/, ''))
  t.notDeepEqual(numbers(0), numbers(1), 'classes draw apart, though their files are named alike')
})

test('every class with two images has one on either side, a single image trains', (t) => {
  for (let first = 0; first < 300; first++) {
    for (const share of [0.001, 0.1, 0.9, 0.999]) {
      for (const count of [1, 2, 3]) {
        const held = heldOf(named(0, count, first), choose(named(0, count, first), share)).length
        t.true(count === 1 ? held === 0 : held > 0 && held < count, `${held} of ${count} at ${share}`)
      }
    }
  }
})

test('images that are added move none from training to testing, and none back but where one had to be held out', (t) => {
  let forced = 0
  for (let seed = 0; seed < 200; seed++) {
    const pick = (index: number, n: number) => draw(seed, Purpose.order, 1, index)[0] % n
    let images = classes.flatMap((_, label) => named(label, 2 + pick(label, 30), 100 * pick(label + 10, 9)))
    let before = choose(images, 0.1, seed)
    for (let round = 0; round < 5; round++) {
      const added = named(round % 3, 1 + pick(round + 20, 20), 1000 + 50 * round)
      const grown = [...added, ...images]
      const after = choose(grown, 0.1, seed)
      for (const [index, image] of images.entries()) {
        const [was, is] = [before[index], after[added.length + index]]
        if (was === is) continue
        const others = heldOf(images, before).filter(({ label }) => label === image.label)
        t.deepEqual([was, is, others], [1, 0, [image]], `${image.name} moved`)
        forced += 1
      }
      images = grown
      before = after
    }
  }
  t.true(forced > 0 && forced < 200, `${forced}`)
})

test('composed and decomposed names draw the same', (t) => {
  const images = Array.from({ length: 60 }, (_, i) => ({ label: 0, name: `\u00fc${i}.jpg` }))
  const decomposed = images.map(({ label, name }) => ({ label, name: name.normalize('NFD') }))
  t.deepEqual(choose(decomposed), choose(images))
})
