import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { pack } from 'tar-stream'
import { trainSmall } from '../inference/trained-run.js'
import { test } from '../serial.js'

const { folder, run, pictures } = await trainSmall()
const [blue, red] = [pictures.blue!, pictures['größer, red']!]
const loader = fileURLToPath(import.meta.resolve('tsx'))
const main = resolve('lib/cli/main.ts')

function predict(flags: readonly string[], input?: Buffer) {
  const options = { cwd: folder, ...(input && { input }), encoding: 'utf8' as const }
  return spawnSync(process.execPath, ['--import', loader, main, 'predict', ...flags], options)
}

test('a picture, a folder of pictures, a pattern and an archive are classified, in their order', async (t) => {
  const archive = pack()
  archive.entry({ name: 'in/one.png' }, readFileSync(red[0]!))
  archive.entry({ name: 'in/notes.txt' }, 'not an image')
  archive.finalize()
  writeFileSync(join(folder, 'some.tar'), await buffer(archive))
  mkdirSync(join(folder, 'nested', 'deeper'), { recursive: true })
  symlinkSync(blue[0]!, join(folder, 'nested', 'deeper', 'link.png'))
  const names = ['some.tar', 'nested', 'pictures/blue/1*.png', relative(folder, red[5]!)]
  const { stdout, stderr, status } = predict([run, ...names])
  t.is(status, 0, stderr)
  const lines = stdout.trimEnd().split('\n')
  t.regex(lines[0]!, /^some\.tar\/in\/one\.png: größer, red \d+\.\d\d %$/)
  t.regex(lines[1]!, /^nested\/deeper\/link\.png: blue \d/)
  t.deepEqual(
    lines.slice(2, -1).map((line) => line.split(':')[0]),
    ['1', '10', '11', '12', '13', '14', '15', '16', '17', '18', '19'].map((name) => `pictures/blue/${name}.png`),
  )
  t.regex(stderr, /^note: passed over in some\.tar, no images: 1 file \(in\/notes\.txt\)$/m)
})

test('one picture alone may come by standard input, and its guesses stand below each other', (t) => {
  const { stdout, status, stderr } = predict([run, '-', '--top', '5'], readFileSync(blue[2]!))
  t.is(status, 0, stderr)
  t.regex(stdout, /^blue \d+\.\d\d %\ngrößer, red \d+\.\d\d %\n$/)
})

test('as JSON and as CSV a broken picture has its row, the others theirs, and the status is 1', (t) => {
  writeFileSync(join(folder, 'broken.png'), readFileSync(blue[0]!).subarray(0, 100))
  const names = [blue[0]!, 'broken.png', 'nowhere.png', red[0]!]
  const json = predict([run, ...names, '--json', '--top', '2'])
  t.is(json.status, 1)
  t.regex(json.stderr, /^2 images of 4 could not be read$/m)
  const { images, classes } = JSON.parse(json.stdout) as {
    classes: string[]
    images: { image: string; predictions: { label: string; probability: number }[]; error?: { code: string } }[]
  }
  t.deepEqual(classes, ['blue', 'größer, red'])
  t.deepEqual(
    images.map(({ image, predictions, error }) => [image, predictions[0]?.label, error?.code]),
    [
      [blue[0], 'blue', undefined],
      ['broken.png', undefined, 'IMAGE'],
      ['nowhere.png', undefined, 'IMAGE'],
      [red[0], 'größer, red', undefined],
    ],
  )
  const { stdout } = predict([run, ...names, '--csv'])
  const [head, first, second, , third] = stdout.trimEnd().split('\n')
  t.is(head, 'image,error,label_1,probability_1')
  t.regex(first!, /0\.png,,blue,0\.\d+$/)
  t.regex(second!, /^broken\.png,"?Cannot read the image broken\.png: .*,,$/)
  t.regex(third!, /0\.png"?,,"größer, red",0\.\d+$/)
})

test('guesses below a threshold are left out', (t) => {
  const { stdout } = predict([run, blue[0]!, red[0]!, '--threshold', '0.9999'])
  t.is(stdout.match(/: nothing as likely as that$/gm)?.length, 2)
})

test('pictures are sorted into folders of their classes, and nothing is written over', (t) => {
  const into = join(folder, 'sorted')
  t.is(predict([run, blue[0]!, red[0]!, red[1]!, '--sort-into', 'sorted']).status, 0)
  t.deepEqual(readdirSync(join(into, 'größer, red')).sort(), ['0.png', '1.png'])
  const again = predict([run, red[0]!, 'sorted', '--sort-into', 'sorted'])
  t.regex(again.stdout, /größer, red [\d.]+ % → sorted\/größer, red\/0\.png$/m)
  t.deepEqual(readdirSync(join(into, 'größer, red')).sort(), ['0.png', '1.png'], 'nothing is there twice')
  writeFileSync(join(into, 'größer, red', '3.png'), 'mine')
  const { stdout } = predict([run, red[3]!, '--sort-into', 'sorted', '--link'])
  t.regex(stdout, /größer, red [\d.]+ % → sorted\/größer, red\/3-2\.png$/m)
  t.deepEqual(readFileSync(join(into, 'größer, red', '3-2.png')), readFileSync(red[3]!))
  t.is(readFileSync(join(into, 'größer, red', '3.png'), 'utf8'), 'mine')
  t.true(existsSync(join(into, 'blue', '0.png')))
})

const failures: [flags: string[], status: number, message: RegExp][] = [
  [['nowhere', 'x.png'], 1, /error DATA: There is no image and no folder x\.png\nhint: /],
  [['nowhere', blue[0]!], 1, /error CHECKPOINT: There is no model and no run nowhere\nhint: /],
  [[run, 'empty'], 1, /error DATA: empty holds no images\nhint: give a folder or \.tar that holds images/],
  [[run, '*.gif'], 1, /error DATA: There is no image and no folder \*\.gif/],
  [[run, blue[0]!, '--top', '0'], 1, /error CONFIG: Expected a positive integer for --top/],
  [[run, blue[0]!, '--threshold', '2'], 1, /error CONFIG: Expected a number from 0 to 1 for --threshold/],
  [[run, blue[0]!, '--batch', '0'], 1, /error CONFIG: Expected a positive integer for batch/],
  [[run, blue[0]!, '--sort-into', 'a file'], 1, /error DATA: Cannot put .*0\.png into /],
  [[run], 2, /missing required argument 'images'/],
]
mkdirSync(join(folder, 'empty'))
writeFileSync(join(folder, 'a file'), '')
for (const [flags, expected, message] of failures)
  test(`predict ${flags.map((flag) => relative(folder, resolve(folder, flag))).join(' ')} exits ${expected}`, (t) => {
    const { status, stdout, stderr } = predict(flags)
    t.is(status, expected, stderr)
    t.regex(stderr, message)
    t.is(stdout, '')
  })
