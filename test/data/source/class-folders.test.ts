import { arrangeClassFolders, arrangeTestHalf } from '../../../lib/data/source/class-folders.js'
import { checkError } from '../../error.js'
import { test } from '../../serial.js'

const listing = (files: string[], folders: string[] = []) => ({ source: 'photos', files, folders })
const pairs = ({ paths, labels }: { paths: readonly string[]; labels: Int32Array }) =>
  paths.map((path, i) => `${path} ${labels[i]}`)

test('classes are the folders, sorted; images are sorted too, at any depth', (t) => {
  const found = arrangeClassFolders(listing(['dog/b.JPG', 'dog/a/z.png', 'cat/2.jpeg', 'cat/1.webp', 'ant/x.png']))
  t.deepEqual(found.classes, ['ant', 'cat', 'dog'])
  t.deepEqual(pairs(found.train), ['ant/x.png 0', 'cat/1.webp 1', 'cat/2.jpeg 1', 'dog/a/z.png 2', 'dog/b.JPG 2'])
  t.is(found.test, undefined)
  t.deepEqual(found.notices, [])
})

test('train beside val, validation or test makes two halves with one numbering of classes', (t) => {
  for (const half of ['val', 'validation', 'test']) {
    const files = [
      'train/a/1.png',
      'train/b/1.png',
      'train/c/1.png',
      `${half}/c/9.png`,
      `${half}/b/9.png`,
      'extra/x.png',
    ]
    const found = arrangeClassFolders(listing(files))
    t.deepEqual(found.classes, ['a', 'b', 'c'])
    t.deepEqual(pairs(found.train), ['train/a/1.png 0', 'train/b/1.png 1', 'train/c/1.png 2'])
    t.deepEqual(pairs(found.test!), [`${half}/b/9.png 1`, `${half}/c/9.png 2`])
    t.deepEqual(found.notices, [
      `passed over in photos, outside of train and ${half}: 1 image (extra/x.png)`,
      `the test images are those in ${half}/`,
      `photos/${half} lacks the classes a`,
    ])
  }
  const both = arrangeClassFolders(
    listing(['train', 'val', 'test'].flatMap((half) => [`${half}/a/1.png`, `${half}/b/1.png`])),
  )
  t.deepEqual(pairs(both.test!), ['val/a/1.png 0', 'val/b/1.png 1'])
  t.is(both.validation, undefined)
})

test('where a validation part is asked for, val is it and test is held out; one of them alone is held out', (t) => {
  const files = (...halves: string[]) => halves.flatMap((half) => [`${half}/a/1.png`, `${half}/b/1.png`])
  const three = arrangeClassFolders(listing(files('train', 'Valid', 'test')), { validation: 0.1 })
  t.deepEqual(pairs(three.validation!), ['Valid/a/1.png 0', 'Valid/b/1.png 1'])
  t.deepEqual(pairs(three.test!), ['test/a/1.png 0', 'test/b/1.png 1'])
  t.deepEqual(three.notices, [
    'the test images are those in test/',
    'those in Valid/ choose the best average of the weights',
  ])
  for (const half of ['val', 'test']) {
    const two = arrangeClassFolders(listing(files('train', half)), { validation: 0.1 })
    t.is(two.validation, undefined)
    t.is(two.test!.paths[0], `${half}/a/1.png`)
  }
})

test('one folder around everything is looked through', (t) => {
  const plain = arrangeClassFolders(listing(['set/cat/1.png', 'set/dog/1.png'], ['set']))
  t.deepEqual(plain.classes, ['cat', 'dog'])
  const halves = arrangeClassFolders(listing(['a/b/train/x/1.png', 'a/b/train/y/1.png', 'a/b/val/x/1.png']))
  t.deepEqual(halves.classes, ['x', 'y'])
  t.deepEqual(pairs(halves.test!), ['a/b/val/x/1.png 0'])
})

test('a class may be called train', (t) => {
  const found = arrangeClassFolders(listing(['car/1.png', 'plane/1.png', 'train/1.png']))
  t.deepEqual(found.classes, ['car', 'plane', 'train'])
})

test('a loose image in a half does not make a class of it', (t) => {
  const found = arrangeClassFolders(
    listing(['train/a/1.png', 'train/b/1.png', 'train/z.png', 'val/a/1.png', 'val/z.png']),
  )
  t.deepEqual(found.classes, ['a', 'b'])
  t.regex(found.notices.join(), /in photos\/train, in no class folder: 1 image \(train\/z\.png\)/)
  t.regex(found.notices.join(), /in photos\/val, in no class folder: 1 image \(val\/z\.png\)/)
})

test('what is hidden is ignored, what is no image is counted, images in no class are counted', (t) => {
  const files = [
    'a/1.png',
    'b/1.png',
    '.DS_Store',
    'a/._1.png',
    '__MACOSX/a/1.png',
    '.git/x.png',
    'README.txt',
    'b/l.csv',
    'z.png',
  ]
  const found = arrangeClassFolders(listing(files, ['.git', '__MACOSX', 'a', 'b']))
  t.deepEqual(found.classes, ['a', 'b'])
  t.is(found.train.paths.length, 2)
  t.deepEqual(found.notices, [
    'passed over in photos, no images: 2 files (README.txt, b/l.csv)',
    'passed over in photos, in no class folder: 1 image (z.png)',
  ])
})

test('names that differ only in case or spaces are warned of', (t) => {
  const { classes, notices } = arrangeClassFolders(listing(['Cat/1.png', 'cat/1.png', 'cat /1.png', 'dog/1.png']))
  t.is(classes.length, 4)
  t.deepEqual(notices, ['the classes "Cat" and "cat" and "cat " differ only in case or spaces'])
})

const [composed, decomposed] = ['caf\u00e9', 'cafe\u0301']

test('composed and decomposed names are one class, in one half and in two, and come in one order', (t) => {
  for (const [ours, theirs] of [
    [composed, decomposed],
    [decomposed, composed],
  ] as const) {
    const halves = arrangeClassFolders(
      listing([`train/${ours}/1.png`, 'train/cafz/1.png', `val/${theirs}/1.png`], [`val/${theirs}`]),
    )
    t.deepEqual(halves.classes, ['cafz', composed])
    t.deepEqual(pairs(halves.train), ['train/cafz/1.png 0', `train/${ours}/1.png 1`])
    t.deepEqual(pairs(halves.test!), [`val/${theirs}/1.png 1`])
  }
  const merged = arrangeClassFolders(listing([`${composed}/1.png`, `${decomposed}/2.png`, 'cafz/1.png'], [composed]))
  t.deepEqual(merged.classes, ['cafz', composed])
  t.deepEqual(pairs(merged.train), ['cafz/1.png 0', `${composed}/1.png 1`, `${decomposed}/2.png 1`])
  t.regex(merged.notices.join(), /differ only in Unicode's form are one class/)
})

test('halves are known under their usual names', (t) => {
  const names: [train: string, test: string][] = [
    ['Train', 'Test'],
    ['Training', 'Testing'],
    ['TRAIN', 'VAL'],
    ['train', 'valid'],
    ['train', 'Validation'],
    ['train', 'dev'],
    ['train', 'test'],
    ['seg_train', 'seg_test'],
    ['Brain-Training', 'brain-testing'],
    ['train2017', 'val2017'],
  ]
  for (const [train, half] of names) {
    for (const wrapper of ['', 'set/']) {
      const paths = [`${train}/a/1.png`, `${train}/b/1.png`, `${half}/b/2.png`].map((path) => wrapper + path)
      const found = arrangeClassFolders(listing(paths))
      t.deepEqual([found.classes, pairs(found.test!)], [['a', 'b'], [`${paths[2]} 1`]], `${train}, ${half}`)
      t.is(found.train.root, `${wrapper}${train}/`)
    }
  }
  const doubled = arrangeClassFolders(
    listing([
      ...['buildings', 'sea'].flatMap((name) => [
        `seg_train/seg_train/${name}/1.jpg`,
        `seg_test/seg_test/${name}/2.jpg`,
      ]),
      'seg_pred/seg_pred/3.jpg',
    ]),
  )
  t.deepEqual(doubled.classes, ['buildings', 'sea'])
  t.deepEqual(pairs(doubled.test!), ['seg_test/seg_test/buildings/2.jpg 0', 'seg_test/seg_test/sea/2.jpg 1'])
  t.regex(doubled.notices.join(), /passed over in photos, outside of seg_train and seg_test: 1 image/)
})

test('of val and test val is held out and the other left alone; a test half without classes is passed over', (t) => {
  const files = ['Training', 'Testing', 'Valid'].flatMap((half) => [`${half}/a/1.png`, `${half}/b/1.png`])
  const three = arrangeClassFolders(listing(files))
  t.deepEqual(pairs(three.test!), ['Valid/a/1.png 0', 'Valid/b/1.png 1'])
  t.deepEqual(three.notices, [
    'the 2 images in Testing/ are left alone: they neither train nor test',
    'the test images are those in Valid/',
  ])
  const contest = arrangeClassFolders(listing(['train/a/1.png', 'train/b/1.png', 'test/1.png', 'test/2.png']))
  t.deepEqual([contest.classes, contest.test], [['a', 'b'], undefined])
  t.deepEqual(contest.notices, ['the 2 images in test/ lie in no class folders: passed over'])
})

test('folders that all hold the same folders are refused where they sound like halves, and told of otherwise', (t) => {
  const inBoth = (...tops: string[]) => listing(tops.flatMap((top) => [`${top}/cat/1.png`, `${top}/dog/1.png`]))
  for (const tops of [
    ['my trainset', 'my testset'],
    ['fold1', 'fold2', 'fold3'],
    ['train', 'Train', 'val'],
    ['a_train', 'a_val', 'b_train', 'b_val'],
  ]) {
    const error = t.throws(() => arrangeClassFolders(inBoth(...tops)))
    checkError(t, error, {
      code: 'DATA',
      message: /holds the folders cat, dog in each of/,
      hint: /name them train and val/,
    })
  }
  const sexes = arrangeClassFolders(inBoth('lion', 'tiger'))
  t.deepEqual(sexes.classes, ['lion', 'tiger'])
  t.regex(sexes.notices.join(), /holds the folders cat, dog in each of lion, tiger, which are taken for the classes/)
  t.deepEqual(arrangeClassFolders(listing(['toy_train/1.png', 'toy_car/1.png'])).classes, ['toy_car', 'toy_train'])
  t.deepEqual(arrangeClassFolders(listing(['running/a/1.png', 'training/b/1.png'])).classes, ['running', 'training'])
})

test('where all is to be tested, a test half alone and a single class will do', (t) => {
  const alone = arrangeClassFolders(listing(['test/b/1.png', 'test/a/1.png', 'val/a/2.png']), { halves: 'all' })
  t.deepEqual([pairs(alone.train), pairs(alone.test!)], [[], ['val/a/2.png 0']])
  t.regex(alone.notices.join(), /passed over in photos, outside of val: 2 images/)
  const single = arrangeClassFolders(listing(['a/1.png']), { halves: 'all' })
  t.deepEqual([single.classes, single.test], [['a'], undefined])
})

test('a tree of endless depth is an error', (t) => {
  const deep = listing([`${'a/'.repeat(100_000)}1.png`])
  t.throws(() => arrangeClassFolders(deep), { code: 'DATA', message: /only one class folder/ })
})

test('what could not be listed is told, unless it is hidden', (t) => {
  const faults = ['a/x', '.hidden', 'c'].map((name) => ({ name, fault: 'link' as const, reason: 'no' }))
  const found = arrangeClassFolders({ ...listing(['a/1.png', 'b/1.png'], ['a', 'b']), faults })
  t.deepEqual(found.faults, [faults[0], faults[2]])
  t.deepEqual(found.notices, ['photos was not listed whole: a/x: no; c: no'])
  const bare = { ...listing([], ['a']), faults }
  t.throws(() => arrangeClassFolders(bare), { message: /holds no images; it was not listed whole: a\/x: no/ })
})

test('a tree that is not laid out so is refused, saying why', (t) => {
  const cases: [string[], string[], RegExp][] = [
    [[], [], /photos holds no images/],
    [['a/1.txt'], ['a'], /photos holds no images/],
    [['1.png', '2.png'], [], /photos holds 2 images but no class folders/],
    [['a/1.png'], ['a'], /only one class folder, a/],
    [['a/1.png', 'b/1.png'], ['a', 'b', 'c', 'd'], /photos has class folders without images: c, d/],
    [['a/1.png', 'b/1.png', 'c/notes.txt'], ['a', 'b', 'c'], /without images: c/],
    [['val/a/1.png', 'val/b/1.png'], [], /has val but no train/],
    [['val/a/1.png', 'test/b/1.png'], [], /has val and test but no train/],
    [['train/a/1.png', 'train/b/1.png', 'val/1.png'], [], /photos\/val holds 1 images but no class folders/],
    [['train/a/1.png', 'train/b/1.png', 'val/a/1.png'], ['val/b'], /photos\/val has class folders without images: b/],
    [['train/a/1.png', 'train/b/1.png', 'val/e/1.png'], [], /photos\/val has the class e/],
  ]
  for (const [files, folders, message] of cases) {
    t.throws(() => arrangeClassFolders(listing(files, folders)), { code: 'DATA', message }, String(message))
  }
  const slip = () => arrangeClassFolders(listing(['train/cat/1.png', 'train/dog/1.png', 'val/cats/1.png']))
  checkError(t, t.throws(slip), { code: 'DATA', hint: 'did you mean cat?' })
})

test('a test half listed on its own takes the training half’s numbering, whatever folder is around it', (t) => {
  for (const prefix of ['', 'test/', 'cifar/val/']) {
    const half = arrangeTestHalf(listing([`${prefix}dog/1.png`, `${prefix}cat/1.png`]), ['ant', 'cat', 'dog'])
    t.deepEqual(pairs(half), [`${prefix}cat/1.png 1`, `${prefix}dog/1.png 2`])
    t.deepEqual(half.notices.length, 1)
  }
  t.throws(() => arrangeTestHalf(listing(['fox/1.png', 'cat/1.png']), ['cat']), { code: 'DATA', message: /fox/ })
})
