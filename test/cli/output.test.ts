/** What becomes of a command whose output goes nowhere. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadConfig } from '../../lib/recipe/config.js'
import { readEvents, readSummary } from '../../lib/report/run-folder.js'
import { test } from '../serial.js'
import { writeColours } from './colours.js'

const folder = mkdtempSync(join(tmpdir(), 'autoprog-output-'))
test.before(() => writeColours(folder))
test.after.always(() => rmSync(folder, { recursive: true }))

const node = [process.execPath, '--import', fileURLToPath(import.meta.resolve('tsx')), resolve('lib/cli/main.ts')]

/** Runs a shell's line with the command line as `$autoprog`. */
function shell(line: string) {
  const env = { ...process.env, autoprog: node.join(' ') }
  return spawnSync('bash', ['-c', `set -o pipefail; ${line}`], { cwd: folder, encoding: 'utf8', env })
}

/** The command line as a child, with all that it says. */
function start(...flags: string[]) {
  const [program, ...before] = node
  const child = spawn(program!, [...before, ...flags], { cwd: folder })
  let text = ''
  child.stdout.on('data', (chunk) => (text += String(chunk)))
  child.stderr.on('data', (chunk) => (text += String(chunk)))
  return { child, output: () => text }
}

const hasFull = existsSync('/dev/full')

test('output that a full disk refuses is an error', (t) => {
  if (!hasFull) return t.pass('there is no /dev/full')
  for (const flags of ['flops vit_micro --json', 'list', 'train --dry-run']) {
    const { status, stderr } = shell(`$autoprog ${flags} > /dev/full`)
    t.is(status, 1, flags)
    t.regex(stderr, /^error: Cannot write the output: ENOSPC/m)
  }
})

test('a reader that leaves early ends a command that only prints, as SIGPIPE would', (t) => {
  const { status, stderr } = shell('$autoprog list --json | true')
  t.is(status, 141, stderr)
  t.is(stderr, '')
})

test('a training goes on to its end when nobody reads what it says', async (t) => {
  const { child } = start('train', 'colours.yaml', '--out', 'alone')
  child.stdout.destroy()
  child.stderr.destroy()
  const [status] = await once(child, 'close')
  t.is(status, 0)
  t.is(readEvents(join(folder, 'alone')).at(-1)?.type, 'end')
  t.true(readSummary(join(folder, 'alone')).steps > 0)
})

test('Ctrl-C in a pipeline whose reader it ends too still leaves a checkpoint', async (t) => {
  const { child, output } = start('train', 'colours.yaml', '--epochs', '500', '--out', 'pipe')
  while (!output().includes('epoch 2 ') && child.exitCode === null) await new Promise((done) => setTimeout(done, 20))
  child.stdout.destroy()
  child.stderr.destroy()
  child.kill('SIGINT')
  const [status] = await once(child, 'close')
  t.is(status, 130)
  t.is(readEvents(join(folder, 'pipe')).at(-1)?.type, 'checkpoint')
})

test('without a recipe, a resume finds the last run that has not ended', async (t) => {
  const run = (flags: string) => shell(`$autoprog train ${flags}`)
  const short = run('colours.yaml --out runs/short --epochs 1')
  t.is(short.status, 0, short.stderr)
  t.regex(short.stdout, /^model +runs\/short\/best\.safetensors\nnext +npx autoprog predict runs\/short IMAGES…$/m)
  const ended = run('--resume')
  t.regex(ended.stderr, /There is no run to resume in runs\n/)
  cpSync(join(folder, 'pipe'), join(folder, 'runs', 'half way'), { recursive: true })
  const { child, output } = start('train', '--resume')
  while (!output().includes('resumed at step') && child.exitCode === null)
    await new Promise((done) => setTimeout(done, 20))
  child.kill('SIGINT')
  await once(child, 'close')
  t.regex(output(), /^run folder: runs\/half way$/m)
  t.regex(output(), /^stopped; to continue: npx autoprog train --resume --out 'runs\/half way'$/m)
})

test('a mistyped run is answered with those that there are', (t) => {
  t.regex(shell('$autoprog evaluate runs/shrt').stderr, /There is no run runs\/shrt\nhint: did you mean runs\/short\?/)
  t.regex(shell('$autoprog evaluate x').stderr, /There is no run x\nhint: runs that there are: runs\//)
  t.regex(shell('$autoprog train --retrain y').stderr, /There is no run y\nhint: runs that there are: /)
})

test('a dry run prints the recipe, with what flags and data say, and creates nothing', (t) => {
  writeFileSync(
    join(folder, 'small.yaml'),
    'data: images\nbatch: auto\nmodel: { kind: vit, imageSize: 32, patchSize: 8, embedDim: 32, depth: 2, heads: 2 }\n',
  )
  const flags = 'small.yaml --lr 5e-4 --workers 2 --resolution 64 --out dry'
  const { stdout, status, stderr } = shell(`$autoprog train ${flags} --dry-run`)
  t.is(status, 0, stderr)
  t.regex(stdout, /^ {2}learningRate: 0\.0005$/m)
  t.regex(stdout, /^workers: 2$/m)
  t.regex(stdout, /^batch: \d+$/m)
  t.regex(stderr, /training images, .* held out, 2 classes$/m)
  t.regex(stdout, /^ {2}imageSize: 64$/m)
  t.false(existsSync(join(folder, 'dry')))
  writeFileSync(join(folder, 'again.yaml'), stdout)
  t.deepEqual(
    loadConfig({ file: join(folder, 'again.yaml') }),
    JSON.parse(shell(`$autoprog train ${flags} --dry-run --json`).stdout),
  )
})

test('a dry run with data that are not there prints the recipe as it is, and fails', (t) => {
  const { stdout, status, stderr } = shell('$autoprog train small.yaml --data nowhere --dry-run')
  t.is(status, 1)
  t.regex(stdout, /^batch: auto$/m)
  t.regex(stderr, /^error DATA: There is no dataset and no file named .*nowhere/m)
  t.is(
    shell('$autoprog train small.yaml --data nowhere --out late').stdout,
    '',
    'no folder is told of a run that there is not',
  )
  t.false(existsSync(join(folder, 'late')))
})

test('the list says what can be named', (t) => {
  const { stdout } = shell('$autoprog list --json')
  const { models, recipes, datasets, schemes } = JSON.parse(stdout) as {
    models: { name: string; parameters: number; flops: number }[]
    recipes: { name: string; about: string }[]
    datasets: string[]
    schemes: string[]
  }
  t.like(
    models.find(({ name }) => name === 'resnet18'),
    { resolution: 224, parameters: 11_689_512 },
  )
  t.regex(recipes.find(({ name }) => name === 'mnist')!.about, /^AutoProg on MNIST, small: .*\.$/)
  for (const { name, about } of recipes) t.regex(about, /^[^#]+\.$/, name)
  t.true(datasets.includes('fashion-mnist') && schemes.includes('autoprog'))
  const text = shell('$autoprog list').stdout
  for (const { name } of [...models, ...recipes]) t.true(text.includes(name), name)
})
