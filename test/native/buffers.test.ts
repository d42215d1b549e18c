import { type ImageOp, transformImages } from '../../lib/data/image/operations.js'
import type { ProgramDescription } from '../../lib/native.js'
import { addon } from '../../lib/native.js'
import { openTestDevice } from '../device.js'
import { test } from '../serial.js'

const device = await openTestDevice()
test.after.always(() => device.close())

const side = 256
const size = { height: side, width: side }
const bytes = side * side * 3
const plan = Float64Array.of(side, side, 1, 2) // height, width, one number: flip
const transfer = (buffer: ArrayBuffer) => structuredClone(buffer, { transfer: [buffer] })
const picture = () => Uint8Array.from({ length: bytes }, (_, index) => index % 251)
const coded = { code: 'SHAPE' }

/** ArrayBuffer's of ES2024, which this TypeScript does not know. */
const resizable = (length: number) =>
  Reflect.construct(ArrayBuffer, [length, { maxByteLength: 4 * length }]) as ArrayBuffer & {
    resize(length: number): void
  }

const run = async (sources: Uint8Array[], plans = plan, target: unknown = new Uint8Array(bytes)) =>
  addon().transformImages(sources, 3, plans, side, side, target as Uint8Array, 0)

/** An array whose entry does something when it is read. */
const entryThat = (act: () => void, value: Uint8Array): Uint8Array[] =>
  Object.defineProperty([value], 0, {
    get: () => {
      act()
      return value
    },
  })

for (const [what, lose] of [
  ['transfers', (array: Uint8Array | Float64Array) => void transfer(array.buffer as ArrayBuffer)],
  ['shrinks', (array: Uint8Array | Float64Array) => (array.buffer as ReturnType<typeof resizable>).resize(0)],
] as const)
  test(`memory that reading an argument ${what} is not used: plans, target and sources`, async (t) => {
    const plans = new Float64Array(resizable(plan.byteLength))
    plans.set(plan)
    await t.throwsAsync(
      run(
        entryThat(() => lose(plans), picture()),
        plans,
      ),
      coded,
    )
    const target = new Uint8Array(resizable(bytes))
    await t.throwsAsync(
      run(
        entryThat(() => lose(target), picture()),
        plan,
        target,
      ),
      coded,
    )
    const source = new Uint8Array(resizable(bytes))
    await t.throwsAsync(run(entryThat(() => lose(source), source)), coded)
    t.true((await run([picture()])) >= 0)
  })

test('images under way: their sources and plans may be lost, and a lost target is an error', async (t) => {
  const ops: ImageOp[] = [{ op: 'flip' }]
  const image = (pixels: Uint8Array) => ({ pixels, ...size, channels: 3 as const })
  const wanted = new Uint8Array(bytes)
  await transformImages([image(picture())], 3, [ops], size, wanted)
  for (let round = 0; round < 20; round++) {
    const source = new Uint8Array(resizable(bytes))
    source.set(picture())
    const target = new Uint8Array(bytes)
    const running = transformImages([image(source)], 3, [ops], size, target)
    if (round % 2 === 0) transfer(source.buffer)
    else (source.buffer as ReturnType<typeof resizable>).resize(0)
    await running
    t.deepEqual(Buffer.compare(target, wanted), 0)

    const lost = new Uint8Array(resizable(bytes))
    const failing = transformImages([image(picture())], 3, [ops], size, lost)
    if (round % 2 === 0) transfer(lost.buffer)
    else (lost.buffer as ReturnType<typeof resizable>).resize(bytes - 1)
    await t.throwsAsync(failing, coded)
  }
})

test('shared and transferred memory is an error that says so, wherever an array is taken', async (t) => {
  const f32 = (arena: number, offset: number, shape: number[]) => ({ arena, offset, type: 'f32' as const, shape })
  const description: ProgramDescription = {
    batch: 2,
    microBatch: 2,
    activationBytes: 256,
    tensors: [f32(0, 0, [2, 3]), f32(1, 0, [4, 3]), f32(1, 64, [4]), f32(0, 64, [2, 4])],
    nodes: [{ op: 'linear', phase: 1, inputs: [0, 1, 2], outputs: [3], attributes: {} }],
    inputs: [{ name: 'x', tensor: 0, sliced: true }],
    outputs: [{ name: 'y', tensor: 3, sliced: true }],
  }
  const session = await addon().createSession(device.handle, [0, 1024])
  await addon().writeArena(session, 1, 0, new Float32Array(20))
  const program = await addon().createProgram(session, description)
  const shared = (length: number) => new SharedArrayBuffer(length) as unknown as ArrayBuffer
  const lost = (length: number) => {
    const buffer = new ArrayBuffer(length)
    return { buffer, lose: () => void transfer(buffer) }
  }
  const calls: [string, number, (buffer: ArrayBuffer) => unknown][] = [
    ['x', 24, (buffer) => addon().runProgram(program, { x: new Float32Array(buffer) })],
    ['values', 24, (buffer) => addon().writeArena(session, 1, 0, new Float32Array(buffer))],
    ['a source', bytes, (buffer) => run([new Uint8Array(buffer)])],
    ['target', bytes, (buffer) => run([picture()], plan, new Uint8Array(buffer))],
    ['plans', 32, (buffer) => run([picture()], new Float64Array(buffer))],
  ]
  for (const [name, length, call] of calls) {
    const message = `Expected memory of one thread for ${name} but received a SharedArrayBuffer's`
    await t.throwsAsync(async () => call(shared(length)), { ...coded, message })
    const { buffer, lose } = lost(length)
    const views = new Map([Uint8Array, Float32Array, Float64Array].map((type) => [type, new type(buffer)]))
    lose()
    const again: Record<string, () => unknown> = {
      x: () => addon().runProgram(program, { x: views.get(Float32Array) as Float32Array }),
      values: () => addon().writeArena(session, 1, 0, views.get(Float32Array) as Float32Array),
      'a source': () => run([views.get(Uint8Array) as Uint8Array]),
      target: () => run([picture()], plan, views.get(Uint8Array)),
      plans: () => run([picture()], views.get(Float64Array) as Float64Array<ArrayBuffer>),
    }
    await t.throwsAsync(async () => again[name]!(), { ...coded, message: `The memory of ${name} has been transferred` })
  }
  addon().closeProgram(program)
  addon().closeSession(session)
})
