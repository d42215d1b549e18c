import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { ownKernels } from '../../bench/gpu/sanitize.js'
import { unless } from '../unless.js'
import { blocksOf, readFigures, readReport, writeFigures } from './ptxas.js'

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

const architectures = ['sm_80', 'sm_90', 'sm_100', 'sm_120']

/** Builds the addon for four architectures, warnings as errors; returns what the assembler reported. */
function build(): string {
  const headers = [require('node-api-headers').include_dir, require('node-addon-api').include_dir]
  const options = [
    '-DCMAKE_BUILD_TYPE=Release',
    `-DCMAKE_JS_INC=${headers.join(';')}`,
    `-DCMAKE_CUDA_ARCHITECTURES=${architectures.map((name) => `${name.slice(3)}-real`).join(';')}`,
    '-DAUTOPROG_CUDA=ON',
  ]
  const flags = '-DCMAKE_CUDA_FLAGS=-Xptxas -v -Werror all-warnings'
  const run = (args: readonly string[]) => {
    const { status, stdout, stderr } = spawnSync('cmake', args, {
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
      // Of files compiled at a time, what is said of one is not to be mixed with what is said of another.
      env: { ...process.env, AUTOPROG_CUBLAS_INCLUDE: include, MAKEFLAGS: '-Otarget' },
    })
    if (status !== 0) throw new Error(`${stdout}\n${stderr}`.slice(-4000))
    return stdout + stderr
  }
  run(['-S', '.', '-B', folder, ...options, flags])
  return run(['--build', folder, '--clean-first', '--parallel', String(availableParallelism())])
}

const said = missing() ? '' : build()
const report = readReport(said)
const compiler = /release (\S+),/.exec(spawnSync('nvcc', ['--version'], { encoding: 'utf8' }).stdout ?? '')?.[1]
const figuresFile = join('docs', 'results', 'ptxas.json')
if (process.env.AUTOPROG_WRITE_PTXAS && compiler) writeFigures(figuresFile, compiler, report)
const recorded = readFigures(figuresFile)

unless(missing())('the CUDA backend: no kernel spills a register, for any architecture', (t) => {
  t.true(report.size > 300, `only ${report.size} kernels found`)
  for (const [kernel, byArchitecture] of report) {
    t.deepEqual([...byArchitecture.keys()], architectures, kernel)
    for (const [architecture, [, , , spilled]] of byArchitecture)
      t.is(spilled, 0, `${kernel} for ${architecture}: bytes spilled`)
  }
})

unless(
  missing() || (compiler !== recorded.compiler && `the figures are of nvcc ${recorded.compiler}, not ${compiler}`),
)('the CUDA backend: registers and memory of every kernel are those in docs/results/ptxas.json', (t) => {
  const hint = 'if that is meant: AUTOPROG_WRITE_PTXAS=1 npm test -- test/native/cuda.test.ts'
  t.deepEqual([...report.keys()], [...recorded.kernels.keys()], hint)
  for (const [kernel, byArchitecture] of report)
    t.deepEqual(byArchitecture, recorded.kernels.get(kernel), `${kernel}; ${hint}`)
})

/** Kernels of 256 threads of which a multiprocessor holds one block alone, and why that is let be. */
const alone = new Map([
  ['tiledKeyGradientKernel<__half, 64>', 'dk and dv of 16 keys a warp take 155 to 166 registers'],
  ['tiledKeyGradientKernel<__nv_bfloat16, 64>', 'the same'],
])
unless(missing())(
  'the CUDA backend: a multiprocessor holds two blocks of every tiled kernel, or the reason is known',
  (t) => {
    const tiled = [...report].filter(([kernel]) => kernel.startsWith('tiled'))
    t.is(tiled.length, 12)
    for (const [kernel, byArchitecture] of tiled) {
      const size = Number(/, (\d+)>$/.exec(kernel)![1])
      // Tiles<size>::kBytes of native/cuda/attention-tiles.h: two tiles of 64 padded rows, twice, and their statistics.
      const bytes = 4 * 64 * (size + 8) * 2 + 4 * 64 * 4
      for (const [architecture, figures] of byArchitecture) {
        const blocks = blocksOf(figures, architecture, 256, bytes)
        if (alone.has(kernel)) t.is(blocks, 1, `${kernel} for ${architecture} is no exception any more`)
        else t.true(blocks >= 2, `${kernel} for ${architecture}: ${blocks} blocks`)
      }
    }
  },
)

// By which scripts/gpu-check tells them from other libraries' kernels.
unless(missing())("the CUDA backend: every kernel's name holds the namespace", (t) => {
  for (const [, name] of said.matchAll(/entry function '(\w+)'/g)) t.true(name!.includes(ownKernels), name)
})

unless(spawnSync('cuobjdump', ['--version']).status !== 0 && 'cuobjdump is missing')(
  'the CUDA backend: attention uses tensor cores and asynchronous copies',
  (t) => {
    const object = join(folder, 'CMakeFiles/kernels.dir/native/cuda/attention.cu.o')
    const code = execFileSync('cuobjdump', ['--dump-sass', '--gpu-architecture', 'sm_90', object], {
      encoding: 'utf8',
      maxBuffer: 2 ** 29,
    })
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
