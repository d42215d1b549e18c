import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from './serial.js'

const root = join(import.meta.dirname, '..')

/** What each floor may import besides itself; from the ground up. `graph` and `data` stand side by side and never meet below `training`. */
const ground = ['errors', 'random', 'native', 'checksum', 'half', 'safetensors', 'folder', 'memory', 'package']
const allowed: Record<string, readonly string[]> = {
  errors: [],
  random: ['errors'],
  package: [],
  native: ['errors', 'package'],
  checksum: [],
  half: [],
  folder: [],
  memory: ['errors'],
  safetensors: ['errors'],
  report: [...ground, 'evaluation'],
  data: [...ground, 'report'],
  datasets: [...ground, 'data'],
  graph: [...ground, 'report'],
  ops: [...ground, 'graph'],
  models: [...ground, 'graph', 'ops'],
  growth: ['errors', 'random', 'models'],
  session: [...ground, 'data', 'graph', 'ops', 'models'],
  evaluation: [],
  recipe: [...ground, 'models', 'growth', 'session'],
  training: [
    ...ground,
    'report',
    'data',
    'datasets',
    'graph',
    'ops',
    'models',
    'growth',
    'session',
    'recipe',
    'evaluation',
  ],
  inference: [...ground, 'report', 'data', 'datasets', 'models', 'session', 'evaluation', 'training'],
  export: [...ground, 'data', 'graph', 'ops', 'models', 'inference'],
  index: [
    ...ground,
    'report',
    'data',
    'datasets',
    'models',
    'session',
    'recipe',
    'training',
    'inference',
    'export',
    'evaluation',
  ],
  cli: [
    ...ground,
    'report',
    'data',
    'datasets',
    'models',
    'growth',
    'session',
    'recipe',
    'training',
    'inference',
    'export',
    'index',
    'evaluation',
  ],
}

/** The files that each file imports, types included; paths from the root, as `lib/graph/tensor.ts`. */
type Imports = Map<string, readonly string[]>

function readImports(): Imports {
  const files = ['lib', 'datasets'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts'))
      .map((path) => join(folder, path)),
  )
  return new Map(files.map((file) => [file, importsOf(file, readFileSync(join(root, file), 'utf8'))]))
}

/** `import … from '…'`, `export … from '…'`, `import '…'` and `import('…')` of files in the repository. */
function importsOf(file: string, source: string): string[] {
  const specifiers = [...source.matchAll(/(?:^|[\s;}])(?:from|import)\s*\(?\s*(['"])(\.[^'"]*)\1/g)]
  return specifiers.map(([, , path]) => join(file, '..', path!).replace(/\.js$/, '.ts'))
}

/** `lib/graph/tensor.ts` stands on `graph`, `lib/errors.ts` on `errors`, `datasets/mnist.ts` on `datasets`. */
function floorOf(file: string): string {
  const [first, second = ''] = file.split('/')
  return first === 'lib' ? second.replace(/\.ts$/, '') : first!
}

function upwardImports(imports: Imports): string[] {
  const wrong: string[] = []
  for (const [file, targets] of imports) {
    const floor = floorOf(file)
    for (const target of targets) {
      const to = floorOf(target)
      if (to !== floor && !allowed[floor]?.includes(to)) wrong.push(`${file} imports ${target}`)
    }
  }
  return wrong
}

/** The first cycle that a depth-first walk meets, e.g. [a, b, a]; undefined where there is none. */
function findCycle(imports: Imports): string[] | undefined {
  const finished = new Set<string>()
  function visit(file: string, path: readonly string[]): string[] | undefined {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file]
    if (finished.has(file)) return undefined
    for (const target of imports.get(file) ?? []) {
      const cycle = visit(target, [...path, file])
      if (cycle) return cycle
    }
    finished.add(file)
    return undefined
  }
  for (const file of imports.keys()) {
    const cycle = visit(file, [])
    if (cycle) return cycle
  }
  return undefined
}

const imports = readImports()

test('every file stands on a known floor', (t) => {
  const unknown = [...imports.keys()].filter((file) => !(floorOf(file) in allowed))
  t.deepEqual(unknown, [])
})

test('a floor imports only from floors below it', (t) => {
  t.deepEqual(upwardImports(imports), [])
})

test('no file imports itself through others', (t) => {
  t.is(findCycle(imports)?.join(' -> '), undefined)
})

test('only lib/native.ts loads the addon', (t) => {
  const loaders = [...imports.keys()].filter((file) => /autoprog\.node/.test(readFileSync(join(root, file), 'utf8')))
  t.deepEqual(
    loaders.filter((file) => file !== 'lib/native.ts'),
    [],
  )
})

test('wrong imports would be seen', (t) => {
  const source = `import type { A } from '../training/a.js'\nexport {\n  b,\n} from "./b.js"\nconst c = await import('../../datasets/c.js')`
  const wrong: Imports = new Map([
    ['lib/data/x.ts', importsOf('lib/data/x.ts', source)],
    ['lib/data/b.ts', ['lib/graph/d.ts', 'lib/errors.ts', 'lib/data/x.ts']],
  ])
  t.deepEqual(upwardImports(wrong), [
    'lib/data/x.ts imports lib/training/a.ts',
    'lib/data/x.ts imports datasets/c.ts',
    'lib/data/b.ts imports lib/graph/d.ts',
  ])
  t.deepEqual(findCycle(wrong), ['lib/data/x.ts', 'lib/data/b.ts', 'lib/data/x.ts'])
})
