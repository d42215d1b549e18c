import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { whyNoCuda } from '../../lib/cli/doctor.js'
import { test } from '../serial.js'

const root = mkdtempSync(join(tmpdir(), 'autoprog-doctor-'))
test.after.always(() => rmSync(root, { recursive: true }))

test('what the build found missing is said in place of that there is nothing', (t) => {
  const bare = 'There is no CUDA backend in this build'
  t.is(whyNoCuda(bare, root), bare)
  mkdirSync(join(root, 'build'))
  const missing = 'no CUDA backend: the compiler, nvcc, is missing; looked for on PATH'
  writeFileSync(join(root, 'build', 'install.json'), JSON.stringify({ cuda: missing }))
  t.is(whyNoCuda(bare, root), missing)
  t.is(whyNoCuda('no CUDA-capable device is detected', root), 'no CUDA-capable device is detected')
  writeFileSync(join(root, 'build', 'install.json'), JSON.stringify({ cuda: null }))
  t.is(whyNoCuda(bare, root), bare)
})
