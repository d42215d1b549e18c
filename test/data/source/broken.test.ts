import { createBrokenImages, mostBroken } from '../../../lib/data/source/broken.js'
import { AutoprogError } from '../../../lib/errors.js'
import { checkError } from '../../error.js'
import { test } from '../../serial.js'

test('one broken image in a hundred may be, of few images one to three, and none where none is asked for', (t) => {
  const most = (share?: number) => [1, 10, 20, 29, 30, 100, 299, 400, 1_000, 1_281_167].map((n) => mostBroken(n, share))
  t.deepEqual(most(), [1, 1, 2, 2, 3, 3, 3, 4, 10, 12_811])
  t.deepEqual(most(0), Array(10).fill(0))
  t.deepEqual(most(1), [1, 10, 20, 29, 30, 100, 299, 400, 1_000, 1_281_167])
})

test('the image after the last that may be broken is refused, all of them named', (t) => {
  const broken = createBrokenImages(20)
  const note = (index: number) =>
    broken.note(index, new AutoprogError('IMAGE', `Cannot read the image ${index}.png: bad`))
  t.is(broken.summary(), undefined)
  note(7)
  note(3)
  t.notThrows(() => broken.check())
  t.is(broken.summary(), '2 of 20 images are broken, others stand in: 3.png: bad; 7.png: bad')
  note(11)
  const expected = {
    code: 'DATA',
    message: /^3 of 20 images are broken: 3\.png: bad; 7\.png: bad; 11\.png: bad$/,
  } as const
  checkError(t, t.throws(broken.check), { ...expected, hint: /at most 2 of them may be broken$/ })
  t.throws(() => broken.note(1, new Error('the disk is gone')), { message: 'the disk is gone' })
})
