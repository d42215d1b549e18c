import { keepScale } from '../../lib/ops/index.js'
import { draw, Purpose, toUnit } from '../../lib/random.js'
import { openTestDevice } from '../device.js'
import { test } from '../serial.js'
import { runCase } from './harness.js'

const device = await openTestDevice()
test.after.always(() => device.close())

test('factors follow their draws, addressed by seed, step, image and path', async (t) => {
  const rates = [0, 0.25, 0.9]
  const [seed, step] = [2 ** 33 + 5, 1234]
  const index = Int32Array.from({ length: 400 }, (_, image) => 2 * image)
  const { outputs } = await runCase(t, device, {
    name: 'keepScale',
    inputs: {
      random: { shape: [4], values: Int32Array.of(5, 2, 1234, 0) },
      index: { shape: [400], values: index },
    },
    build: (graph, inputs) => ({ y: keepScale(graph, inputs.random!, inputs.index!, rates) }),
  })
  const wanted = [...index].flatMap((image) =>
    rates.map((rate, path) => {
      const unit = toUnit(draw(seed, Purpose.stochasticDepth, step, image * rates.length + path)[0])
      return rate === 0 || unit >= Math.fround(rate) ? Math.fround(1 / Math.fround(1 - Math.fround(rate))) : 0
    }),
  )
  t.deepEqual([...outputs.y!], wanted)
  // The mean factor is 1; 400 draws at rate 0.9 deviate by 3 / 20.
  for (const path of rates.keys()) {
    const mean = wanted.filter((_, at) => at % 3 === path).reduce((sum, value) => sum + value, 0) / 400
    t.true(Math.abs(mean - 1) < 0.5, `path ${path}: ${mean}`)
  }
})
