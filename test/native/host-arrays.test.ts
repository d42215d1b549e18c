/** What becomes of arrays that a device is sent: of callers' own, and of those that lie in host memory. */
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { MessageChannel } from 'node:worker_threads'
import { transformImages } from '../../lib/data/image/operations.js'
import type { ProgramDescription } from '../../lib/native.js'
import { addon, hostArray, hostCopy, hostRelease, openDevice } from '../../lib/native.js'
import { openTestDevice } from '../device.js'
import { checkEnding, endings } from '../endings.js'
import { test } from '../serial.js'

setFlagsFromString('--expose-gc')
setFlagsFromString('--harmony-rab-gsab-transfer')
const collectGarbage = runInNewContext('gc') as () => void
/** ES2024's, which not every version of Node has without a flag. */
const transfer = runInNewContext('ArrayBuffer.prototype.transfer') as (
  this: ArrayBuffer,
  length?: number,
) => ArrayBuffer

const device = await openTestDevice()

const batch = 512
const width = 64
/** 128 KiB: more than what is not worth a block. */
const length = batch * width
const f32 = (arena: number, offset: number, shape: number[]) => ({ arena, offset, type: 'f32' as const, shape })
/** y = x W^T + b, with W of ones: each row's sum, twice. */
const description: ProgramDescription = {
  batch,
  microBatch: batch,
  activationBytes: 4 * (length + 2 * batch),
  tensors: [f32(0, 0, [batch, width]), f32(1, 0, [2, width]), f32(1, 512, [2]), f32(0, 4 * length, [batch, 2])],
  nodes: [{ op: 'linear', phase: 1, inputs: [0, 1, 2], outputs: [3], attributes: {} }],
  inputs: [{ name: 'x', tensor: 0, sliced: true }],
  outputs: [{ name: 'y', tensor: 3, sliced: true }],
}
const session = await addon().createSession(device.handle, [0, 1024])
await addon().writeArena(session, 1, 0, new Float32Array(256).fill(1).fill(0, 128))
const program = await addon().createProgram(session, description)
const value = (index: number) => (index * 7) % 16
const wanted = Array.from({ length: 2 * batch }, (_, index) => {
  const row = Math.floor(index / 2)
  return Array.from({ length: width }, (_, column) => value(row * width + column)).reduce((sum, each) => sum + each, 0)
})
const filled = <A extends Float32Array>(array: A): A => {
  for (let index = 0; index < length; index++) array[index] = value(index)
  return array
}
/** Keeps the compute thread busy, so that what is asked for next begins later. */
const occupy = () => {
  const side = device.kind === 'cpu' ? 1024 : 64
  return addon().measureGemm(device.handle, side, side, side)
}
/** Runs the program on `x`, to which something is done once the call has returned. */
async function runWhile(x: Float32Array, act: () => unknown): Promise<readonly number[]> {
  const busy = occupy()
  const running = addon().runProgram(program, { x })
  act()
  const [{ y }] = await Promise.all([running, busy])
  return [...y!]
}

const resizable = () =>
  Reflect.construct(ArrayBuffer, [4 * length, { maxByteLength: 8 * length }]) as ArrayBuffer & {
    resize(length: number): void
  }
const { port1, port2 } = new MessageChannel()
port2.unref()
test.after.always(async () => {
  port1.close()
  await device.close()
})
const ways: readonly [what: string, act: (x: Float32Array<ArrayBuffer>) => unknown][] = [
  ['transferred by structuredClone', ({ buffer }) => structuredClone(buffer, { transfer: [buffer] })],
  ['transferred by postMessage', ({ buffer }) => port1.postMessage(buffer, [buffer])],
  ['transferred by ArrayBuffer.transfer', ({ buffer }) => transfer.call(buffer)],
  ['transferred to a smaller buffer', ({ buffer }) => transfer.call(buffer, 8)],
]

for (const [what, act] of [['changed', (x: Float32Array) => x.fill(Number.NaN)] as const, ...ways])
  test(`a caller's array that is ${what} while a step is under way is the step's as it was`, async (t) => {
    const x = filled(new Float32Array(length))
    t.deepEqual(await runWhile(x, () => act(x)), wanted)
  })

test("a caller's array that is made smaller, or is garbage, while a step is under way is the step's as it was", async (t) => {
  const buffer = resizable()
  t.deepEqual(await runWhile(filled(new Float32Array(buffer)), () => buffer.resize(0)), wanted)
  t.deepEqual(await runWhile(filled(new Float32Array(length)), collectGarbage), wanted)
})

/** What Node does not let go of stays where it is. */
const tried = (act: () => unknown) => () => {
  try {
    act()
  } catch (error) {
    if (!/could not be cloned|transfer/i.test((error as Error).message)) throw error
  }
}

for (const [what, act] of ways)
  test(`a host array that is ${what} while a step is under way stays with the step`, async (t) => {
    const x = filled(hostArray(device.handle, 'f32', length)) as Float32Array<ArrayBuffer>
    t.deepEqual(
      await runWhile(
        x,
        tried(() => act(x)),
      ),
      wanted,
    )
    // Whether or not it was let go: the next call takes what is there, or says that nothing is.
    if (x.length > 0) t.deepEqual(await runWhile(x, () => undefined), wanted)
    else
      t.throws(() => addon().runProgram(program, { x }), {
        code: 'SHAPE',
        message: 'The memory of x has been transferred',
      })
  })

test('a host array that is garbage while steps are under way stays with them, and its block is none of the next', async (t) => {
  const busy = occupy()
  const running = Array.from({ length: 8 }, () =>
    addon().runProgram(program, { x: filled(hostArray(device.handle, 'f32', length)) }),
  )
  for (let round = 0; round < 20; round++) {
    collectGarbage()
    await setImmediate()
    hostArray(device.handle, 'f32', length).fill(Number.NaN)
  }
  for (const { y } of await Promise.all(running)) t.deepEqual([...y!], wanted)
  await busy
})

test('a part of a host array is that part, and one array serves many steps', async (t) => {
  const all = hostArray(device.handle, 'f32', 3 * length)
  all.fill(Number.NaN)
  const x = filled(all.subarray(length, 2 * length))
  const results = await Promise.all(Array.from({ length: 5 }, () => addon().runProgram(program, { x })))
  for (const { y } of results) t.deepEqual([...y!], wanted)
})

test('a host array that is released is empty and its memory the next one’s, but not while a step is under way', async (t) => {
  const x = filled(hostArray(device.handle, 'f32', length))
  const part = x.subarray(1)
  const running = runWhile(x, () => {
    hostRelease(x)
    for (let round = 0; round < 4; round++) hostArray(device.handle, 'f32', length).fill(Number.NaN)
  })
  t.deepEqual([x.length, part.length], [0, 0])
  hostRelease(x)
  hostRelease(part)
  t.throws(() => addon().runProgram(program, { x }), { code: 'SHAPE', message: 'The memory of x has been transferred' })
  t.deepEqual(await running, wanted)
  // No memory but one block is ever used, and nobody's is taken away by the garbage of its predecessors.
  const before = hostArray(device.handle, 'u8', 2 ** 24)
  before.fill(1)
  hostRelease(before)
  const resident = process.memoryUsage.rss()
  for (let index = 0; index < 50; index++) {
    const next = hostArray(device.handle, 'u8', 2 ** 24)
    next.fill(index)
    if (index % 10 === 0) {
      collectGarbage()
      await setImmediate()
      t.is(next.at(-1), index)
      t.is(hostCopy(device.handle, next), next)
    }
    hostRelease(next)
  }
  const grown = (process.memoryUsage.rss() - resident) / 2 ** 20
  t.true(grown < 160, `${grown.toFixed(0)} MiB more for 50 arrays of 16 MiB, one at a time`)
  const own = new Uint8Array(8)
  hostRelease(own)
  t.is(own.length, 8)
  t.throws(() => addon().releaseHostArray(3 as never), { code: 'SHAPE' })
})

test('an array in a block that another has left is held as it was', async (t) => {
  hostRelease(hostArray(device.handle, 'f32', length))
  const x = filled(hostArray(device.handle, 'f32', length))
  for (let round = 0; round < 5; round++) {
    collectGarbage() // of the one before, whose block this is now
    await setImmediate()
  }
  const running = runWhile(x, () => hostRelease(x))
  for (let round = 0; round < 4; round++) hostArray(device.handle, 'f32', length).fill(Number.NaN)
  t.deepEqual(await running, wanted)
})

test('a copy of a host array is itself, of a caller its own', (t) => {
  const x = hostArray(device.handle, 'f32', length)
  t.is(hostCopy(device.handle, x), x)
  const own = filled(new Float32Array(length))
  const copy = hostCopy(device.handle, own)
  t.not(copy.buffer, own.buffer)
  t.deepEqual(copy, own)
})

test('a copy of what no call takes is itself', (t) => {
  const shared = new Float32Array(new SharedArrayBuffer(4 * length))
  const lost = new Uint8Array(length)
  structuredClone(lost.buffer, { transfer: [lost.buffer] })
  for (const array of [shared, lost, new Float64Array(length), new DataView(new ArrayBuffer(length))])
    t.is(hostCopy(device.handle, array), array)
})

test('host arrays have a type and a length that an array can have, of a device or session that is open', async (t) => {
  for (const [type, kind] of [
    ['f32', Float32Array],
    ['i32', Int32Array],
    ['u8', Uint8Array],
  ] as const)
    for (const count of [0, 1, 100, 100_000]) {
      const array = hostArray(session, type, count)
      t.true(array instanceof kind)
      t.is(array.length, count)
      array.fill(7)
      t.is(array.at(-1), count === 0 ? undefined : 7)
    }
  for (const [owner, type, count, message] of [
    [device.handle, 'f16', 8, /Expected f32, i32 or u8/],
    [device.handle, 'f32', -1, /Expected an integer/],
    [device.handle, 'f32', 1.5, /Expected an integer/],
    [program, 'f32', 8, /Expected a device handle/],
    [undefined, 'f32', 8, /Expected a device handle/],
  ] as const)
    t.throws(() => addon().hostArray(owner as never, type, count), { code: 'SHAPE', message })
  const other = await openTestDevice()
  const array = hostArray(other.handle, 'f32', length)
  await other.close()
  t.throws(() => hostArray(other.handle, 'f32', length), { code: 'DEVICE', message: 'The device is closed' })
  t.deepEqual(await runWhile(filled(array), () => undefined), wanted) // the memory is there as long as the array
})

test('images are made straight in a host array, and one that is lost meanwhile is an error', async (t) => {
  const side = 256
  const size = { height: side, width: side }
  const bytes = side * side * 3
  const image = { pixels: Uint8Array.from({ length: bytes }, (_, index) => index % 251), ...size, channels: 3 as const }
  const plain = new Uint8Array(2 * bytes)
  const target = hostArray(device.handle, 'u8', 2 * bytes)
  target.fill(9)
  plain.fill(9)
  for (const each of [plain, target]) await transformImages([image], 3, [[{ op: 'flip' }]], size, each, bytes)
  t.is(Buffer.compare(plain, target), 0)
  const lost = hostArray(device.handle, 'u8', bytes)
  const making = transformImages([image], 3, [[{ op: 'flip' }]], size, lost)
  transfer.call(lost.buffer as ArrayBuffer)
  await t.throwsAsync(making, { code: 'SHAPE', message: 'The memory of target has been transferred' })
})

test('host arrays count as memory: a loop that leaves them behind does not fill the machine', async (t) => {
  const bytes = 2 ** 24
  const before = process.memoryUsage.rss()
  for (let index = 0; index < 400; index++) {
    hostArray(device.handle, 'u8', bytes).fill(1)
    await setImmediate()
  }
  const grown = process.memoryUsage.rss() - before
  t.true(grown < 40 * bytes, `${(grown / 2 ** 20).toFixed(0)} MiB more for 400 arrays of 16 MiB`)
})

for (const ending of endings)
  test(`host arrays that steps and JavaScript hold at the end of a process go with it: ${ending[0]}`, (t) =>
    checkEnding(t, 'test/native/held-at-the-end.ts', ending))

test('a host array of one device is taken by another', async (t) => {
  const other = await openDevice('cpu', { threads: 1 })
  const x = filled(hostArray(other.handle, 'f32', length))
  t.deepEqual(await runWhile(x, () => undefined), wanted)
  await other.close()
  t.deepEqual(await runWhile(x, () => undefined), wanted)
})
