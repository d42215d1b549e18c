import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { trainSmall } from '../inference/trained-run.js'
import { test } from '../serial.js'

const { folder, run } = await trainSmall({ epochs: 1 })
const loader = fileURLToPath(import.meta.resolve('tsx'))
const evaluate = (...flags: string[]) =>
  spawnSync(process.execPath, ['--import', loader, resolve('lib/cli/main.ts'), 'evaluate', run, ...flags], {
    ...{ cwd: folder, encoding: 'utf8' },
  })

test('an evaluation says where the best weights fail, by class and as JSON', (t) => {
  const { stdout, status, stderr } = evaluate()
  t.is(status, 0, stderr)
  t.regex(stdout, /^by class, of the (weights|average of decay [\d.]+):$/m)
  t.regex(stdout, /^│ größer, red +│ +\d+ │ +[\d.]+ % │ +[\d.]+ % │ +[\d.]+ % │$|^\| größer, red +\|/m)
  t.regex(stdout, /^expected calibration error [\d.]+ %: how far confidence lies from accuracy$/m)
  t.regex(evaluate('--report', 'page').stdout, /^report: page\/index\.html$/m)
  const html = readFileSync(join(folder, 'page', 'index.html'), 'utf8')
  t.is(html.match(/data:image\/jpeg;base64,\/9j/g)!.length >= 6, true, 'the pictures are inside')
  const { best, top1 } = JSON.parse(evaluate('--json', '--tta', 'flip').stdout) as {
    top1: number
    best: { top1: number; classes: { name: string }[]; confusion: number[][]; images: number }
  }
  t.true(best.top1 >= top1)
  t.deepEqual(
    best.classes.map(({ name }) => name),
    ['blue', 'größer, red'],
  )
  t.is(
    best.confusion.reduce((sum, [, , images]) => sum + images!, 0),
    best.images,
  )
})
