import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { unless } from '../unless.js'

// The CUDA backend as nvcc compiles it, on machines without a GPU: what the compiler says of it, and that the addon loads.
const require = createRequire(import.meta.url)
const folder = join('build', 'cuda')
const include = [process.env.AUTOPROG_CUBLAS_INCLUDE, '/usr/local/cuda/include'].find(
  (place) => place && existsSync(join(place, 'cublasLt.h')),
)

function missing(): string | false {
  if (spawnSync('nvcc', ['--version']).status !== 0) return 'nvcc is missing'
  if (include === undefined) return "cuBLASLt's header is missing: name its folder in AUTOPROG_CUBLAS_INCLUDE"
  return spawnSync('cmake', ['--version']).status !== 0 && 'CMake is missing'
}

/** Builds the addon for two architectures, warnings as errors; returns what the assembler reported. */
function build(): string {
  const headers = [require('node-api-headers').include_dir, require('node-addon-api').include_dir]
  const options = [
    '-DCMAKE_BUILD_TYPE=Release',
    `-DCMAKE_JS_INC=${headers.join(';')}`,
    '-DCMAKE_CUDA_ARCHITECTURES=80;90',
    '-DAUTOPROG_CUDA=ON',
  ]
  const flags = '-DCMAKE_CUDA_FLAGS=-Xptxas -v -Werror all-warnings'
  const run = (args: readonly string[]) => {
    const { status, stdout, stderr } = spawnSync('cmake', args, {
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
      env: { ...process.env, AUTOPROG_CUBLAS_INCLUDE: include },
    })
    if (status !== 0) throw new Error(`${stdout}\n${stderr}`.slice(-4000))
    return stdout + stderr
  }
  run(['-S', '.', '-B', folder, ...options, flags])
  return run(['--build', folder, '--clean-first', '--parallel', String(availableParallelism())])
}

const report = missing() ? '' : build()
const entries = [
  ...report.matchAll(
    /Compiling entry function '(\w+)' for '(sm_\d+)'[\s\S]*?(\d+) bytes stack frame, (\d+) bytes spill stores/g,
  ),
]

unless(missing())('the CUDA backend: attention and layer norm keep to their registers', (t) => {
  const watched = entries.filter(([, name]) => /AttentionKernel|attention|GradientKernelI|normKernel/i.test(name!))
  t.true(watched.length >= 40, `only ${watched.length} kernels found`)
  for (const [, name, architecture, stack, spills] of watched)
    t.deepEqual([stack, spills], ['0', '0'], `${name} for ${architecture}: stack frame and spills in bytes`)
})

unless(spawnSync('cuobjdump', ['--version']).status !== 0 && 'cuobjdump is missing')(
  'the CUDA backend: attention uses tensor cores and asynchronous copies',
  (t) => {
    const object = join(folder, 'CMakeFiles/kernels.dir/native/cuda/attention.cu.o')
    const code = execFileSync('cuobjdump', ['--dump-sass', object], { encoding: 'utf8', maxBuffer: 2 ** 29 })
    for (const instruction of ['HMMA.16816.F32 ', 'HMMA.16816.F32.BF16', 'LDSM.16.M88.4', 'LDSM.16.MT88.4', 'LDGSTS'])
      t.true(code.includes(instruction), `${instruction} is missing`)
  },
)

unless(existsSync('/dev/nvidia0') && 'there is a GPU')(
  'the CUDA backend: the addon loads without a driver, and says what a GPU lacks',
  (t) => {
    const script = `
      const addon = require(${JSON.stringify(join(process.cwd(), folder, 'autoprog.node'))})
      console.log(addon.kinds().join())
      try { addon.openDevice('cuda', 0, 1) } catch (error) { console.log(error.code, error.message) }`
    const lines = execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' }).split('\n')
    t.is(lines[0], 'cpu,cuda')
    t.regex(lines[1]!, /^DEVICE No GPU can be used: .*driver/)
  },
)

const libraries = include && ['lib', 'lib64'].map((name) => join(dirname(include), name)).find(existsSync)
unless(libraries === undefined && 'only the header of cuBLASLt is there')(
  'the CUDA backend: cuBLASLt itself has every function that is used, and one of them answers',
  (t) => {
    const scratch = mkdtempSync(join(tmpdir(), 'autoprog-cublas-'))
    try {
      const source = join(scratch, 'open.cpp')
      writeFileSync(
        source,
        `#include <cstdio>
        #include "cuda/libraries.h"
        int main() { std::printf("%zu", autoprog::cuda::openCublasLt().getVersion()); }`,
      )
      const program = join(scratch, 'open')
      const files = [source, 'native/cuda/libraries.cpp', '-o', program]
      execFileSync('nvcc', ['-std=c++20', '-Inative', `-I${include}`, ...files, '-ldl'], { stdio: 'pipe' })
      const env = { ...process.env, AUTOPROG_CUDA_LIBRARIES: libraries }
      t.true(Number(execFileSync(program, { encoding: 'utf8', env })) >= 120_000)
    } finally {
      rmSync(scratch, { recursive: true })
    }
  },
)
