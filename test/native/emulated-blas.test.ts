// What cuBLASLt and drivers may refuse, and what is done then: on the emulated device, whose stand-in of the library is as
// strict as the real one may be. native/emulator/cublasLt.h lists the faults.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import type { LowType } from '../../lib/graph/tensor.js'
import { createModel } from '../../lib/models/registry.js'
import type { Device, DeviceOptions, ProgramDescription } from '../../lib/native.js'
import { addon, openDevice } from '../../lib/native.js'
import { linear } from '../../lib/ops/index.js'
import type { Precision } from '../../lib/session/request.js'
import { createSession } from '../../lib/session/session.js'
import type { OpCase } from '../ops/harness.js'
import { randomValues, runCase } from '../ops/harness.js'
import { test } from '../serial.js'
import { unless } from '../unless.js'

const folder = mkdtempSync(join(tmpdir(), 'autoprog-blas-'))
const variables = ['AUTOPROG_EMULATED_FAULTS', 'AUTOPROG_EMULATED_ALGORITHMS', 'AUTOPROG_CACHE'] as const
test.after.always(() => rmSync(folder, { recursive: true }))
test.afterEach.always(() => {
  for (const name of variables) delete process.env[name]
})

const emulated = unless(process.env.AUTOPROG_DEVICE !== 'cuda-emulated' && 'there is no emulated device')

/** Runs `work` on a device of its own, which chooses its algorithms anew. */
async function onDevice<T>(work: (device: Device) => Promise<T>, options: DeviceOptions = {}): Promise<T> {
  const device = await openDevice('cuda-emulated', options)
  return work(device).finally(() => device.close())
}

const faults = (...names: string[]) => {
  process.env.AUTOPROG_EMULATED_FAULTS = names.join(',')
}

const dense = (rows: number, into: number, out: number): OpCase => ({
  name: 'linear',
  inputs: {
    x: { shape: [rows, into], values: randomValues([rows, into], 1) },
    weight: { shape: [out, into], values: randomValues([out, into], 2), parameter: true },
    bias: { shape: [out], values: randomValues([out], 3), parameter: true },
  },
  build: (graph, { x, weight, bias }) => ({ y: linear(graph, x!, weight!, bias!) }),
})

/** y and all gradients of a linear layer, one list. */
async function solve(t: ExecutionContext, device: Device, opCase: OpCase, low?: LowType): Promise<number[]> {
  const [rows, , out] = [opCase.inputs.x!.shape[0]!, 0, opCase.inputs.bias!.shape[0]!]
  const { outputs, gradients } = await runCase(t, device, opCase, { y: randomValues([rows, out], 4) }, low)
  return [...outputs.y!, ...Object.values(gradients).flatMap((values) => [...values])]
}

/** Of one another within what sums in another order may differ by. */
function assertNear(t: ExecutionContext, ours: readonly number[], wanted: readonly number[], tolerance = 1e-5): void {
  t.is(ours.length, wanted.length)
  const largest = Math.max(...wanted.map(Math.abs))
  for (const [index, value] of ours.entries())
    t.true(Math.abs(value - wanted[index]!) <= tolerance * largest, `value ${index}: ${value}, not ${wanted[index]}`)
}

async function losses(
  device: Device,
  precision: Precision,
  configuration: Partial<Parameters<typeof createModel<'vit'>>[1]> = {},
  steps = 3,
): Promise<number[]> {
  const size = { imageSize: 14, patchSize: 7, embedDim: 36, depth: 2, heads: 3, classes: 4, ...configuration }
  const session = await createSession({ device, model: createModel('vit', size as never), precision })
  const { imageSize } = size
  const images = {
    data: Uint8Array.from({ length: 4 * imageSize ** 2 * 3 }, (_, index) => (index * 37) % 251),
    shape: [4, imageSize, imageSize, 3] as const,
  }
  const result: number[] = []
  for (let step = 0; step < steps; step++)
    result.push((await session.step({ images, targets: Int32Array.of(0, 1, 2, 3), learningRate: 1e-2, step })).loss)
  await session.close()
  return result
}

/** y = x W^T + b with the parameters at these bytes of an arena. */
function placed(weight: number, bias: number, x = 0): ProgramDescription {
  const f32 = (arena: number, offset: number, shape: number[]) => ({ arena, offset, type: 'f32' as const, shape })
  return {
    batch: 2,
    microBatch: 2,
    activationBytes: 512,
    tensors: [f32(0, x, [2, 3]), f32(1, weight, [4, 3]), f32(1, bias, [4]), f32(0, 256, [2, 4])],
    nodes: [{ op: 'linear', phase: 1, inputs: [0, 1, 2], outputs: [3], attributes: {} }],
    inputs: [{ name: 'x', tensor: 0, sliced: true }],
    outputs: [{ name: 'y', tensor: 3, sliced: true }],
  }
}

for (const [weight, bias] of [
  [0, 256],
  [4, 64],
  [0, 52],
  [72, 8],
] as const)
  emulated(`alignment: a weight at byte ${weight} and a bias at byte ${bias} get what suits them`, (t) =>
    onDevice(async (device) => {
      const session = await addon().createSession(device.handle, [0, 1024])
      const parameters = new Float32Array(256)
      parameters.set(
        Array.from({ length: 12 }, (_, index) => index),
        weight / 4,
      )
      parameters.set([100, 200, 300, 400], bias / 4)
      await addon().writeArena(session, 1, 0, parameters)
      const program = await addon().createProgram(session, placed(weight, bias))
      const { y } = await addon().runProgram(program, { x: Float32Array.of(1, 0, 0, 0, 1, 0) })
      t.deepEqual([...y!], [100, 203, 306, 409, 101, 204, 307, 410])
      addon().closeProgram(program)
      addon().closeSession(session)
    }),
  )

for (const precision of ['fp32', 'bf16', 'fp16'] as const)
  emulated(`alignment: a network of width 36, whose biases lie at odd places, trains in ${precision}`, async (t) => {
    const cpu = await openDevice('cpu', { threads: 2 })
    const wanted = await losses(cpu, precision)
    await cpu.close()
    assertNear(t, await onDevice((device) => losses(device, precision)), wanted, precision === 'fp32' ? 1e-4 : 0.02)
  })

for (const fault of ['no-bias', 'no-bgradb', 'refuse-algorithm'])
  emulated(`refusals: ${fault}: the same results by another way`, async (t) => {
    const wanted = await onDevice((device) => solve(t, device, dense(7, 24, 16), 'bf16'))
    faults(fault)
    await onDevice(async (device) => {
      assertNear(t, await solve(t, device, dense(7, 24, 16), 'bf16'), wanted)
      const notices = device.notices()
      t.is(notices.length, fault === 'refuse-algorithm' ? 0 : 1, String(notices))
    })
  })

for (const seed of [1, 2, 3])
  emulated(`refusals: epilogues that are refused at random, draw ${seed}: the same results`, async (t) => {
    const network = { embedDim: 24, imageSize: 16, patchSize: 8 }
    const wanted = await onDevice((device) => losses(device, 'bf16', network))
    faults('random-epilogues')
    process.env.AUTOPROG_EMULATED_ALGORITHMS = String(seed)
    assertNear(t, await onDevice((device) => losses(device, 'bf16', network)), wanted, 0.02)
  })

for (const [fault, notice] of [
  [
    'no-odd',
    /cuBLASLt 0\.0\.0 has no algorithm for .*\(7, 147\) x \(147, 15\) bf16 to f32 b\^T.*: .*kernel of our own/,
  ],
  ['no-algorithm', /has no algorithm for .*\(7, 147\) x \(147, 15\)/],
  ['fail-run', /cuBLASLt 0\.0\.0 fails at every algorithm for .*\(7, 147\) x \(147, 15\)/],
] as const)
  emulated(`refusals: ${fault}: a plain kernel makes the products, and a notice says so`, async (t) => {
    const wanted = await onDevice((device) => solve(t, device, dense(7, 147, 15), 'bf16'))
    faults(fault)
    await onDevice(async (device) => {
      assertNear(t, await solve(t, device, dense(7, 147, 15), 'bf16'), wanted)
      t.true(
        device.notices().some((message) => notice.test(message)),
        'no notice',
      )
      t.deepEqual(device.notices(), [], 'told once')
    })
  })

emulated('refusals: patches of 7 x 7 pixels, odd everywhere, train by plain products', async (t) => {
  const cpu = await openDevice('cpu', { threads: 2 })
  const network = { embedDim: 33, channels: 3 as const }
  const wanted = await losses(cpu, 'bf16', network)
  await cpu.close()
  faults('no-odd')
  assertNear(t, await onDevice((device) => losses(device, 'bf16', network)), wanted, 0.02)
})

emulated('refusals: a product that nothing can make is named, with shapes and types', async (t) => {
  faults('no-algorithm')
  const out = 2 ** 22
  await onDevice(async (device) => {
    const session = await addon().createSession(device.handle, [0, 4 * out])
    const f32 = (arena: number, offset: number, shape: number[]) => ({ arena, offset, type: 'f32' as const, shape })
    const making = addon().createProgram(session, {
      ...{ batch: 1, microBatch: 1, activationBytes: 256 + 4 * out },
      tensors: [f32(0, 0, [1, 1]), f32(1, 0, [out, 1]), f32(0, 256, [1, out])],
      nodes: [{ op: 'linear', phase: 1, inputs: [0, 1], outputs: [2], attributes: {} }],
      ...{ inputs: [], outputs: [] },
    })
    const message = /linear: Neither cuBLASLt 0\.0\.0 nor .* \(1, 1\) x \(1, 4194304\) f32 to f32 b\^T/
    await t.throwsAsync(making, { code: 'DEVICE', message })
    addon().closeSession(session)
  })
})

emulated('capture: no kernel and no algorithm runs for the first time in one', (t) =>
  onDevice(async (device) => {
    const values = await losses(device, 'bf16', { imageSize: 16, patchSize: 8, embedDim: 24, heads: 1 }, 4)
    t.true(values.at(-1)! < values[0]!, String(values))
  }),
)

emulated('capture: two devices of a process prepare and capture side by side', async (t) => {
  // A capture takes 5 ms a product, so that the other device asks for algorithms meanwhile, unless it waits.
  faults('slow-capture')
  const run = async (rows: number) =>
    onDevice(async (device) => {
      for (let index = 0; index < 6; index++)
        await losses(device, 'fp32', {
          ...{ imageSize: 16, patchSize: 8, depth: 1 },
          embedDim: rows + 4 * index,
          heads: 1,
        })
      return device.notices()
    })
  t.deepEqual(await Promise.all([run(8), run(36)]), [[], []])
})

/** The one file of algorithms in a folder. */
function cached(cache: string): { path: string; lines: string[] } {
  const files = readdirSync(cache).filter((name) => !name.endsWith('.part'))
  if (files.length !== 1) throw new Error(`${cache} holds ${files.join(', ')}`)
  const path = join(cache, files[0]!)
  return { path, lines: readFileSync(path, 'utf8').trim().split('\n') }
}

const opened = (name: string): string => {
  const cache = join(folder, name)
  process.env.AUTOPROG_CACHE = cache
  return cache
}

emulated('cache: what was found is kept, and taken without a word', async (t) => {
  const cache = opened('kept')
  const wanted = await onDevice((device) => solve(t, device, dense(5, 8, 8)))
  const { path, lines } = cached(cache)
  t.is(lines.length, 3) // the product, its gradient of x, and of the weight
  await onDevice(async (device) => {
    t.deepEqual(await solve(t, device, dense(5, 8, 8)), wanted)
    t.deepEqual(device.notices(), [])
  })
  t.deepEqual(readFileSync(path, 'utf8').trim().split('\n'), lines)
})

emulated('cache: processes do not share a file that is half written, nor lose what others found', async (t) => {
  const cache = opened('shared')
  await onDevice((device) => solve(t, device, dense(5, 8, 8)))
  const { path } = cached(cache)
  mkdirSync(`${path}.part`) // another's, forgotten or not yet renamed
  await onDevice(async (first) => {
    await first.measureGemm(4, 4, 4) // has read the file
    await onDevice((second) => solve(t, second, dense(6, 8, 8)))
    await solve(t, first, dense(7, 8, 8))
  })
  t.is(cached(cache).lines.length, 3 + 1 + 3 + 3)
  t.deepEqual(
    readdirSync(cache).filter((name) => name.endsWith('.part')),
    [`${path.slice(cache.length + 1)}.part`],
  )
})

for (const [what, damage] of [
  ['bits', (text: string) => text.replace(/\t[0-9a-f]+ /g, '\t7 ')],
  ['an end', (text: string) => text.slice(0, text.length / 2)],
  ['other algorithms', (text: string) => swapped(text)],
  ['noise', () => '\u0000\tx\n\t\t\n1 2 3\n'.repeat(9)],
] as const)
  emulated(`cache: damaged, with ${what} in it: found anew without a word`, async (t) => {
    const cache = opened(`damaged ${what}`)
    const wanted = await onDevice((device) => solve(t, device, dense(5, 8, 8)))
    const { path, lines } = cached(cache)
    writeFileSync(path, damage(lines.join('\n')))
    await onDevice(async (device) => {
      t.deepEqual(await solve(t, device, dense(5, 8, 8)), wanted)
      t.deepEqual(device.notices(), [])
    })
    t.is(cached(cache).lines.length, 3)
  })

/** Every product with another's algorithm. */
function swapped(text: string): string {
  const lines = text.split('\n').map((line) => line.split('\t'))
  return lines.map(([key], index) => [key, ...lines[(index + 1) % lines.length]!.slice(1)].join('\t')).join('\n')
}

emulated('cache: one that cannot be written is no obstacle', async (t) => {
  const file = join(folder, 'file')
  writeFileSync(file, '')
  process.env.AUTOPROG_CACHE = join(file, 'below')
  await onDevice(async (device) => {
    await solve(t, device, dense(5, 8, 8))
    t.deepEqual(device.notices(), [])
  })
})

emulated('deterministic: the same bits on machines where another algorithm is the fastest', async (t) => {
  const run = (seed: number) => {
    process.env.AUTOPROG_EMULATED_ALGORITHMS = String(seed)
    return onDevice((device) => solve(t, device, dense(9, 160, 24)), { deterministic: true })
  }
  const wanted = await run(0)
  for (const seed of [1, 2, 3, 4]) t.deepEqual(await run(seed), wanted)
})

emulated('deterministic: algorithms of a cache, chosen by their times, are not taken', async (t) => {
  opened('timed')
  const wanted = await onDevice((device) => solve(t, device, dense(9, 160, 24)), { deterministic: true })
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    process.env.AUTOPROG_EMULATED_ALGORITHMS = String(seed)
    await onDevice((device) => solve(t, device, dense(9, 160, 24)))
    t.deepEqual(await onDevice((device) => solve(t, device, dense(9, 160, 24)), { deterministic: true }), wanted)
  }
})

emulated('waiting for the device leaves the core to others', async (t) => {
  faults('spin')
  await onDevice(async (device) => {
    t.true((await device.measureGemm(8, 8, 8)) > 0)
    t.is((await losses(device, 'fp32', {}, 2)).length, 2)
  })
})

emulated('a device that this build has no code for is refused when it is opened, with what to do', async (t) => {
  faults('no-image')
  const error = await t.throwsAsync(openDevice('cuda-emulated'), {
    code: 'DEVICE',
    message: /This build has no code for emulated, of compute capability 9\.0: .*no kernel image is available/,
  })
  t.regex(String((error as unknown as { hint?: string }).hint), /CUDAARCHS=90 npm rebuild autoprog/)
  delete process.env.AUTOPROG_EMULATED_FAULTS
  await onDevice(async (device) => t.is(device.name, 'emulated'))
})

emulated('memory of the device is freed on its own thread, whatever JavaScript closes', (t) => {
  const { status, stderr } = spawnSync(process.execPath, ['--import', 'tsx', 'test/native/close-early.ts'], {
    encoding: 'utf8',
    env: { ...process.env, AUTOPROG_EMULATED_FAULTS: 'main-thread' },
  })
  t.is(status, 0, stderr)
  t.is(stderr, '')
})

/** A library whose functions are all there, that offers no algorithm: what tests replace goes before. */
const library = (version: number, without = '') =>
  [
    ...['Destroy', 'MatmulDescSetAttribute', 'MatrixLayoutDestroy', 'MatmulPreferenceSetAttribute'],
    ...['MatmulDescDestroy', 'MatmulPreferenceDestroy', 'Matmul', 'MatmulAlgoCheck'],
  ]
    .map((name) => `int cublasLt${name}() { return 0; }`)
    .concat(
      ['Create', 'MatmulDescCreate', 'MatrixLayoutCreate', 'MatmulPreferenceCreate'].map(
        (name) => `int cublasLt${name}(void** made) { *made = 0; return 0; }`,
      ),
      'int cublasLtMatmulAlgoGetHeuristic() { return 15; }',
      'const char* cublasLtGetStatusString() { return "a status"; }',
      `unsigned long cublasLtGetVersion() { return ${version}; }`,
    )
    .filter((line) => without === '' || !line.includes(` cublasLt${without}(`))
    .join('\n')

function buildLibrary(where: string, source: string): string {
  mkdirSync(where, { recursive: true })
  const { status, stderr } = spawnSync(
    'gcc',
    ['-w', '-shared', '-fPIC', '-xc', '-o', join(where, 'libcublasLt.so.13'), '-'],
    {
      input: source,
      encoding: 'utf8',
    },
  )
  if (status !== 0) throw new Error(stderr)
  return where
}

/** Opens the device in a process of its own, with the library in that folder, and any others beneath the user's. */
function openWith(libraries: string, home = join(folder, 'nobody')): string {
  const script = `
    import { openDevice } from './lib/native.js'
    const device = await openDevice('cuda-emulated').catch((error) => error)
    console.log(device instanceof Error ? device.code + ' ' + device.message : device.features.gemm)
    if (!(device instanceof Error)) console.log(device.notices().join(), await device.measureGemm(9, 9, 9) > 0)`
  const { stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    encoding: 'utf8',
    env: { ...process.env, AUTOPROG_CUDA_LIBRARIES: libraries, HOME: home, LD_LIBRARY_PATH: '', VIRTUAL_ENV: '' },
  })
  return stdout + stderr
}

const complaint = (what: string) => new RegExp(`^DEVICE .*libcublasLt\\.so\\.13 ${what}.*; searched: `)

emulated('libraries: one that lacks a function is named, with the function', (t) => {
  t.regex(
    openWith(buildLibrary(join(folder, 'lacking'), library(130100, 'MatmulAlgoCheck'))),
    complaint('lacks the function cublasLtMatmulAlgoCheck'),
  )
})

emulated('libraries: one of another major version is named', (t) => {
  t.regex(openWith(buildLibrary(join(folder, 'older'), library(120405))), complaint('is of version 12 instead of 13'))
})

emulated('libraries: one that does not open is named, with the reason', (t) => {
  const where = join(folder, 'broken')
  mkdirSync(where)
  writeFileSync(join(where, 'libcublasLt.so.13'), 'not a library')
  t.regex(openWith(where), complaint('cannot be opened: .*(too short|invalid ELF header)'))
})

emulated('libraries: where another is good it is taken, and a notice says so', (t) => {
  const home = join(folder, 'home')
  buildLibrary(join(home, '.local/lib/python3.11/site-packages/nvidia/cu13/lib'), library(130102))
  const told = openWith(buildLibrary(join(folder, 'older still'), library(120405)), home)
  t.regex(told, /^cuBLASLt 13\.1\.2\n.*older still\/libcublasLt\.so\.13 is of version 12 .*another is used instead/)
  t.regex(told, / true\n$/)
})
