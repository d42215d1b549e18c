import { brokenImage } from '../../../lib/data/image/fault.js'
import { test } from '../../serial.js'

test('a reason that libvips repeats is given once, on one line, without the names of its parts', (t) => {
  const said = 'VipsJpeg: premature end\nVipsJpeg: premature end\n VipsJpeg:  out of  order \n\n'
  const { reason, message } = brokenImage('a.jpg', 'damaged', new Error(said))
  t.is(reason, 'premature end out of order')
  t.is(message, `Cannot read the image a.jpg: ${reason}`)
})
