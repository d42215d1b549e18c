import { fromHalves, toHalves } from '../lib/half.js'
import { draw } from '../lib/random.js'
import { test } from './serial.js'

test('every 16-bit float is read and written as itself', (t) => {
  const all = Uint16Array.from({ length: 2 ** 16 }, (_, bits) => bits)
  const floats = fromHalves(all)
  const back = toHalves(floats)
  for (const bits of all)
    if (Number.isNaN(floats[bits])) t.true((bits & 0x7fff) > 0x7c00 && Number.isNaN(fromHalves(back)[bits]))
    else t.is(back[bits], bits, `${floats[bits]}`)
  const some = fromHalves(Uint16Array.of(0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00, 0x3555))
  t.deepEqual([...some], [1, -2, 65504, 2 ** -24, Number.POSITIVE_INFINITY, 0.333251953125])
})

test('numbers between two are rounded to the nearer one, halves to the even one', (t) => {
  const halves = fromHalves(Uint16Array.from({ length: 0x7c00 }, (_, bits) => bits))
  const middle = (bits: number) => (halves[bits]! + halves[bits + 1]!) / 2
  for (const bits of [0, 1, 2, 1022, 1023, 1024, 5000, 0x3bff, 0x3c00, 0x7bfe]) {
    const [below, above] = [middle(bits) * (1 - 2 ** -20), middle(bits) * (1 + 2 ** -20)]
    const even = bits % 2 === 0 ? bits : bits + 1
    t.deepEqual([...toHalves(Float32Array.of(below, middle(bits), above))], [bits, even, bits + 1], `${bits}`)
  }
  t.deepEqual([...toHalves(Float32Array.of(65519, 65520, 1e9, 1e-9, -1e-9))], [0x7bff, 0x7c00, 0x7c00, 0, 0x8000])
  const values = Float32Array.from({ length: 2000 }, (_, i) => draw(1, 1, 0, i)[0] / 2 ** 32)
  const rounded = fromHalves(toHalves(values))
  for (const [i, value] of values.entries()) t.true(Math.abs(rounded[i]! - value) <= value * 2 ** -11 + 2 ** -25)
})
