import type { ProgramDescription, TypedArray } from '../../lib/native.js'
import { addon } from '../../lib/native.js'
import { definedOps } from '../../lib/ops/index.js'
import { draw, Purpose, toInteger } from '../../lib/random.js'
import { openTestDevice } from '../device.js'
import { test } from '../serial.js'

const device = await openTestDevice()
test.after.always(() => device.close())

test('both sides draw the same random numbers', (t) => {
  for (const [seed, step, index] of [
    [0, 0, 0],
    [2 ** 40 + 7, 123_456_789_012, 42],
    [1, 2 ** 47 - 1, 4_000_000_000],
  ] as const) {
    const words = [seed % 2 ** 32, Math.floor(seed / 2 ** 32), step % 2 ** 32, Math.floor(step / 2 ** 32)] as const
    t.deepEqual(
      addon().drawPhilox(...words, Purpose.stochasticDepth, index),
      draw(seed, Purpose.stochasticDepth, step, index),
    )
  }
})

/** A small program that runs as it is: y = x W^T + b. */
function description(): ProgramDescription {
  const f32 = (arena: number, offset: number, shape: number[]) => ({ arena, offset, type: 'f32' as const, shape })
  return {
    batch: 2,
    microBatch: 2,
    activationBytes: 256,
    tensors: [f32(0, 0, [2, 3]), f32(1, 0, [4, 3]), f32(1, 64, [4]), f32(0, 64, [2, 4])],
    nodes: [{ op: 'linear', phase: 1, inputs: [0, 1, 2], outputs: [3], attributes: {} }],
    inputs: [{ name: 'x', tensor: 0, sliced: true }],
    outputs: [{ name: 'y', tensor: 3, sliced: true }],
  }
}

test('the native boundary: takes what is right', async (t) => {
  const session = await addon().createSession(device.handle, [0, 1024])
  await addon().writeArena(
    session,
    1,
    0,
    Float32Array.from({ length: 20 }, (_, index) => index),
  )
  const program = await addon().createProgram(session, description())
  const { y } = await addon().runProgram(program, { x: Float32Array.of(1, 0, 0, 0, 1, 0) })
  t.deepEqual([...y!], [16, 20, 24, 28, 17, 21, 25, 29])
  addon().closeProgram(program)
  addon().closeProgram(program)
  t.throws(() => addon().runProgram(program, { x: new Float32Array(6) }), { message: /The program is closed/ })
  addon().closeSession(session)
  await t.throwsAsync(async () => addon().createProgram(session, description()), { message: /The session is closed/ })
})

test('the native boundary: never crashes on several thousand wrong calls', async (t) => {
  const session = await addon().createSession(device.handle, [0, 1024])
  const program = await addon().createProgram(session, description())
  const functions = addon() as unknown as Record<string, (...args: unknown[]) => unknown>
  // Closing would only make the rest of the test say "closed".
  const names = Object.keys(functions).filter((name) => !/^(close|abandon|openDevice)/.test(name))
  const detached = new Float32Array(6)
  structuredClone(detached.buffer, { transfer: [detached.buffer] })
  const thrower = {
    get x(): never {
      throw new Error('from a getter')
    },
  }
  const values: unknown[] = [
    undefined,
    null,
    true,
    -1,
    0,
    1,
    2,
    3.5,
    1e9,
    2 ** 53,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    10n,
    '',
    'f32',
    'x',
    Symbol('s'),
    [],
    [1, 2],
    [[]],
    {},
    { x: 1 },
    thrower,
    () => 1,
    new Date(),
    new Float32Array(6),
    new Float32Array(5),
    new Float64Array(6),
    new Int32Array(6),
    new Uint8Array(6),
    detached,
    new ArrayBuffer(8),
    new DataView(new ArrayBuffer(8)),
    new SharedArrayBuffer(8),
    new Proxy({}, {}),
    { x: new Float32Array(6) },
    device.handle,
    session,
    program,
    description(),
  ]
  let refused = 0
  const total = 4000
  for (let index = 0; index < total; index++) {
    const words = [...draw(1, Purpose.order, 0, index), ...draw(1, Purpose.order, 1, index)]
    const name = names[toInteger(words[0]!, names.length)]!
    const args = words.slice(1, 1 + toInteger(words[7]!, 7)).map((word) => values[toInteger(word, values.length)])
    try {
      await functions[name]!(...args)
    } catch (error) {
      refused++
      t.true(error instanceof Error && error.message.length > 0, name)
    }
  }
  t.true(refused > total / 2, `${refused} of ${total} refused`)
  const { y } = await addon().runProgram(program, { x: new Float32Array(6) })
  t.is(y!.length, 8)
  addon().closeProgram(program)
  addon().closeSession(session)
})

test('the native boundary: refuses programs that were damaged in any one place', async (t) => {
  const session = await addon().createSession(device.handle, [0, 1024])
  const replacements: unknown[] = [
    undefined,
    null,
    -1,
    1,
    7,
    2 ** 40,
    2 ** 53,
    Number.NaN,
    'u8',
    'gelu',
    [],
    [0],
    [9],
    {},
    [2 ** 40, 2 ** 40],
  ]
  let ran = 0
  let refused = 0
  const damage = async (change: (program: ProgramDescription) => void) => {
    const damaged = description()
    change(damaged)
    try {
      const program = await addon().createProgram(session, damaged)
      const x: TypedArray = new Float32Array(6)
      await addon().runProgram(program, { x })
      addon().closeProgram(program)
      ran++
    } catch (error) {
      t.true(error instanceof Error && 'code' in error, String(error))
      refused++
    }
  }
  // Every leaf and every inner node of the description, replaced by every value.
  const paths: (string | number)[][] = []
  const walk = (value: unknown, path: (string | number)[]) => {
    if (path.length > 0) paths.push(path)
    if (typeof value === 'object' && value !== null)
      for (const key of Object.keys(value)) walk(value[key as never], [...path, key])
  }
  walk(description(), [])
  for (const path of paths)
    for (const replacement of replacements)
      await damage((program) => {
        const parent = path
          .slice(0, -1)
          .reduce<Record<string | number, unknown>>(
            (at, key) => at[key] as Record<string | number, unknown>,
            program as never,
          )
        parent[path.at(-1)!] = replacement
      })
  t.true(refused > 500, `${refused} refused, ${ran} ran`)
  addon().closeSession(session)
})

test('the native boundary: every op refuses operands that are none of its own', async (t) => {
  const session = await addon().createSession(device.handle, [4096, 4096])
  const types = ['f32', 'i32', 'u8'] as const
  const shapes = [[], [0], [1], [4], [2, 3], [2, 3, 5], [2, 4, 4, 3], [1, 17, 3], [6, 0], [2, 5, 6]]
  let built = 0
  let refused = 0
  for (const { name, attributes } of definedOps()) {
    for (let trial = 0; trial < 150; trial++) {
      const words = [0, 1, 2, 3, 4, 5].flatMap((step) => [...draw(2, Purpose.order, step, trial)])
      const pick = (n: number) => toInteger(words.pop()!, n)
      const tensors = Array.from({ length: 7 }, () => ({
        arena: 1,
        offset: 16 * pick(16),
        type: types[pick(5) === 0 ? pick(3) : 0]!,
        shape: shapes[pick(shapes.length)]!,
      }))
      const split = pick(6)
      const node = {
        op: name,
        phase: 1 as const,
        inputs: tensors.slice(0, split).map((_, index) => index),
        outputs: tensors
          .slice(split)
          .slice(0, pick(5))
          .map((_, index) => split + index),
        attributes: Object.fromEntries(
          attributes.map((attribute) => [attribute, [0, 1, 2, 4, 1e-6, [], [1], [0, 4], [0.1, 0.2]][trial % 9]!]),
        ),
      }
      try {
        const program = await addon().createProgram(session, {
          batch: 1,
          microBatch: 1,
          activationBytes: 0,
          tensors,
          nodes: [node],
          inputs: [],
          outputs: [],
        })
        built++
        await addon().runProgram(program, {})
        addon().closeProgram(program)
      } catch (error) {
        t.true(error instanceof Error && 'code' in error, `${name}: ${error}`)
        refused++
      }
    }
  }
  t.true(refused > 3000 && built > 0, `${refused} refused, ${built} built`)
  addon().closeSession(session)
})
