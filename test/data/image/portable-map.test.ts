import { decodeImage } from '../../../lib/data/image/decode.js'
import { checkError } from '../../error.js'
import { test } from '../../serial.js'

const open = (header: string, data: readonly number[] = []) =>
  decodeImage(Buffer.concat([Buffer.from(header, 'latin1'), Buffer.from(data)]), { name: 'x.ppm', channels: 3 })
const decode = async (header: string, data?: readonly number[]) => [...(await open(header, data)).pixels]
const grey = (...values: number[]) => values.flatMap((value) => [value, value, value])

test('PPM, PGM and PBM: raw', async (t) => {
  t.deepEqual(await decode('P6 2 1 255\n', [1, 2, 3, 250, 0, 9]), [1, 2, 3, 250, 0, 9])
  t.deepEqual(await decode('P5\n3 1\n255\n', [0, 200, 255]), grey(0, 200, 255))
  t.deepEqual(await decode('P4\n3 2\n', [0b10100000, 0b01000000]), grey(0, 255, 0, 255, 0, 255), 'a one is black')
  const { width, height } = await open('P5 2 3 255 ', [1, 2, 3, 4, 5, 6])
  t.deepEqual([width, height], [2, 3])
})

test('PPM, PGM and PBM: plain, with comments', async (t) => {
  t.deepEqual(await decode('P3\n# a 1 2\n1 2 #b\n255\n1 2 3\n4 # c 9\n5\n6'), [1, 2, 3, 4, 5, 6])
  t.deepEqual(await decode('P2 2 1 255 7 8'), grey(7, 8))
  t.deepEqual(await decode('P1\n3 1\n101'), grey(0, 255, 0))
  t.deepEqual(await decode('P5\n#a\n1 #b\n1\n#c\n255\n', [9]), grey(9))
})

test('PPM and PGM: values are scaled to 255, of two bytes where there are more than 255', async (t) => {
  t.deepEqual(await decode('P5 3 1 100\n', [0, 30, 100]), grey(0, 77, 255))
  t.deepEqual(await decode('P5 2 1 65535\n', [0x80, 0x00, 0xff, 0xff]), grey(128, 255))
  t.deepEqual(await decode('P6 1 1 1000\n', [0, 0, 0x01, 0xf4, 0x03, 0xe8]), [0, 128, 255])
  t.deepEqual(await decode('P5 1 1 100\n', [200]), grey(255), 'more than the header allows')
})

test('PPM, PGM and PBM: what is cut off or senseless is an IMAGE error', async (t) => {
  const cases: [header: string, message: RegExp][] = [
    ['P6 2 2 255\n', /truncated/],
    ['P2 2 2 255\n1 2 3', /truncated/],
    ['P2 2 2 255\n1 2 3 x', /truncated or damaged/],
    ['P1 2 2\n101', /truncated/],
    ['P6', /not an image/],
    ['P6\n', /header does not state width, height and largest value$/],
    ['P5 4 4', /header does not state/],
    ['P5 4 x 255\n', /header does not state/],
    ['P5 0 4 255\n', /0 x 4/],
    ['P5 4 4 99999\n', /values up to 99999/],
    ['P5 4 4 0\n', /values up to 0/],
    ['P5 99999999 99999999 255\n', /at most 178,956,970/],
    ['P7\nWIDTH 1\n', /not an image/],
  ]
  for (const [header, message] of cases) {
    checkError(t, await t.throwsAsync(open(header)), { code: 'IMAGE', message })
  }
})
