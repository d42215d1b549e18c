import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findRecipe } from '../../lib/cli/recipe-files.js'
import type { AutoprogError } from '../../lib/errors.js'
import { test } from '../serial.js'

const folder = mkdtempSync(join(tmpdir(), 'autoprog-package-'))
test.after.always(() => rmSync(folder, { recursive: true }))

test('a folder in the place of a recipe is answered by what it holds: a run, or images', (t) => {
  const [run, images] = ['run', 'images'].map((name) => join(folder, name)) as [string, string]
  for (const path of [run, images]) mkdirSync(path)
  writeFileSync(join(run, 'config.yaml'), 'data: mnist\n')
  const hint = (path: string) => t.throws<AutoprogError>(() => findRecipe(path), { code: 'CONFIG' })!.hint
  t.regex(hint(run)!, /run's folder: .*compare with --runs/)
  t.is(hint(images), `did you mean --data ${images}?`)
})
