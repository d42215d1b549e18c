// `npm test [-- path…]`: runs test/**/*.test.ts, or those whose path contains one of the arguments, two files at a time.
// The files run in processes of their own, with this one's Node options (package.json gives `--import tsx`).
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'

process.env.AUTOPROG_CACHE ??= '' // tests leave no listings in the user's cache
const filters = process.argv.slice(2)
const files = readdirSync('test', { recursive: true })
  .map((path) => join('test', path))
  .filter((path) => path.endsWith('.test.ts'))
  .filter((path) => filters.length === 0 || filters.some((filter) => path.includes(filter)))
  .sort()

let passed = 0
let failed = 0
let skipped = 0

function countPass({ name, nesting, details, skip, todo }) {
  if (details.type === 'suite') return
  if (nesting === 0 && files.includes(name)) return countEmptyFile(name)
  if (skip !== undefined || todo !== undefined) skipped++
  else passed++
}

/** A file is reported as a test of its own only where it holds none or crashes. */
function countEmptyFile(name) {
  console.error(`${name} holds no tests`)
  failed++
}

function countFail({ details, todo }) {
  if (todo !== undefined) skipped++
  // A parent fails with its children; they are what counts.
  else if (details.error?.failureType !== 'subtestsFailed') failed++
}

function report() {
  if (files.length === 0) console.error(`No test file matches ${filters.join(' ') || 'test/**/*.test.ts'}`)
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0
}

if (files.length === 0) report()
else {
  const tests = run({ files, concurrency: 2, timeout: 1_800_000 }).on('test:pass', countPass).on('test:fail', countFail)
  tests.compose(new spec()).on('end', report).pipe(process.stdout)
}
