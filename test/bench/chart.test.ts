import { type Curve, drawChart, timeAxis } from '../../bench/chart.js'
import { test } from '../serial.js'

const curve = (scheme: string, ...top1: number[]): Curve => ({
  scheme,
  curve: top1.map((score, index) => [10 * (index + 1), score]),
})

test('every length of training has several ticks', (t) => {
  for (const longest of [0.4, 3, 17, 59, 61, 119, 300, 764, 5000, 40_000, 400_000]) {
    const { ticks } = timeAxis(longest)
    t.true(ticks.length >= 4 && ticks.length <= 10, `${longest} s: ${ticks}`)
    t.true(ticks.at(-1)! <= longest)
  }
  t.is(timeAxis(59).unit.name, 'seconds')
  t.is(timeAxis(764).unit.name, 'minutes')
})

test('a scheme is one line, through the mean of its seeds, and one band around it', (t) => {
  const svg = drawChart([curve('original', 0.5, 0.8), curve('autoprog', 0.6, 0.9), curve('original', 0.5, 0.9)], 'x')
  t.is(svg.match(/<polyline /g)?.length, 2)
  t.is(svg.match(/<polygon /g)?.length, 2)
  t.regex(svg, />original 85\.0 %</)
  t.regex(svg, />autoprog 90\.0 %</)
})

test('seeds of different lengths meet at their ends', (t) => {
  const svg = drawChart([curve('prog', 0.2, 0.4, 0.6, 0.8), curve('prog', 0.3, 0.9)], 'x')
  t.regex(svg, />prog 85\.0 %</)
  t.is(/<polyline points="([^"]*)"/.exec(svg)![1]!.split(' ').length, 4)
})

test('flat curves are drawn, none are an error', (t) => {
  t.notRegex(drawChart([curve('prog', 0.5, 0.5)], 'x'), /NaN|Infinity/)
  t.throws(() => drawChart([curve('prog')], 'x'), { message: /no curves/ })
})
