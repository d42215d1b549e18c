import { onlyImages } from '../../../lib/data/source/listing.js'
import { checkError } from '../../error.js'
import { test } from '../../serial.js'

const listing = (...files: string[]) => ({ source: 'photos', files, folders: ['a', 'b'] })

test('images of every format that is read are found by their endings, in any case', (t) => {
  const endings = 'jpg jpeg JPE jfif png webp gif tif TIFF avif bmp dib pbm pgm ppm pnm'.split(' ')
  const files = endings.map((ending, index) => `a/${index}.${ending}`)
  const { images, notices } = onlyImages(listing(...files, 'b/.hidden.png', '__MACOSX/a/1.png'))
  t.deepEqual([images.files, notices], [files, []])
})

test('images of formats that are not read are counted by format, beside other files', (t) => {
  const { notices } = onlyImages(listing('a/1.png', 'a/2.HEIC', 'a/3.heif', 'b/4.svg', 'b/5.cr2', 'notes.txt'))
  t.deepEqual(notices, [
    'passed over in photos, no images: 1 file (notes.txt)',
    'passed over in photos: 4 images of formats that are not read (HEIC: a/2.HEIC, a/3.heif; vector graphics: b/4.svg; camera raw: b/5.cr2); convert to PNG or JPEG, or remove it',
  ])
})

test('where there are no others the error names them, and says what to do', (t) => {
  const message = 'photos holds no images; it holds 2 images of formats that are not read (HEIC: a/1.heic, b/2.heic)'
  const hint = /^convert those images to PNG or JPEG; give a folder/
  checkError(
    t,
    t.throws(() => onlyImages(listing('a/1.heic', 'b/2.heic'))),
    { code: 'DATA', message, hint },
  )
  checkError(
    t,
    t.throws(() => onlyImages(listing('a/1.txt'))),
    { code: 'DATA', message: 'photos holds no images' },
  )
})
