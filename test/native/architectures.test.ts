import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from '../serial.js'
import { unless } from '../unless.js'

// What a build compiles for, by the GPUs that nvidia-smi lists and the capabilities that nvcc knows, both stand-ins here.
const folder = mkdtempSync(join(tmpdir(), 'autoprog-architectures-'))
test.after.always(() => rmSync(folder, { recursive: true }))
const skip = spawnSync('cmake', ['--version']).error !== undefined && 'CMake is missing'

const known = [75, 80, 86, 89, 90, 100, 120]
const program = (name: string, text: string) => {
  writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`)
  chmodSync(join(folder, name), 0o755)
}
program('nvcc', `printf '${known.map((capability) => `compute_${capability}\\n`).join('')}'`)
const script = join(folder, 'script.cmake')
writeFileSync(
  script,
  `cmake_minimum_required(VERSION 3.22)
include(${join(process.cwd(), 'native/cuda/architectures.cmake')})
find_cuda_architectures(${join(folder, 'nvcc')} architectures)
message("\${architectures}")`,
)

for (const [what, nvidiaSmi, given, wanted] of [
  ['the GPU that is there, with PTX', "printf '9.0\\n'", '', '90'],
  ['each of several once', "printf '8.6\\n9.0\\n8.6\\n'", '', '86;90'],
  ['one that nvcc does not know, by the PTX of others', "printf '13.0\\n'", '', '80;90'],
  ['one that is too old for the backend', "printf '7.5\\n'", '', '80;90'],
  ['none, where the driver does not answer', "echo 'has failed 1.2.3' >&2; exit 9", '', '80;90'],
  ['what the environment asks for', "printf '9.0\\n'", '80;120', '80;120'],
] as const)
  unless(skip)(`architectures of a build: ${what}`, (t) => {
    program('nvidia-smi', nvidiaSmi)
    const { status, stderr } = spawnSync('cmake', ['-P', script], {
      encoding: 'utf8',
      env: { ...process.env, PATH: `${folder}:${process.env.PATH}`, CUDAARCHS: given },
    })
    t.is(status, 0, stderr)
    t.is(stderr.trim(), wanted)
  })
