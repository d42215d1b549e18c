import { createModel } from '../../lib/models/registry.js'
import { hostCopy } from '../../lib/native.js'
import { copyOf, createQueue } from '../../lib/session/queue.js'
import type { Session } from '../../lib/session/session.js'
import { createSession } from '../../lib/session/session.js'
import { openTestDevice } from '../device.js'
import { same } from '../same.js'
import { test } from '../serial.js'

const device = await openTestDevice()
test.after.always(() => device.close())

const model = createModel('vit', { imageSize: 16, patchSize: 8, embedDim: 12, depth: 2, heads: 2, classes: 4 })
const imagesOf = (factor: number) => ({
  data: Uint8Array.from({ length: 4 * 768 }, (_, index) => (index * factor * 31) & 255),
  shape: [4, 16, 16, 3],
})
const one = () => ({ images: imagesOf(1), targets: Int32Array.of(0, 1, 2, 3) })
const other = () => ({ images: imagesOf(3), targets: Int32Array.of(3, 3, 1, 1) })
const open = () => createSession({ device, model, seed: 1, optimizer: { averages: [0.9] } })
const step = (session: Session) => session.step({ ...one(), learningRate: 1e-2 })

/** The state of a session that has made so many steps, each awaited. */
async function stateAfter(steps: number) {
  const session = await open()
  for (let index = 0; index < steps; index++) await step(session)
  const state = await session.state()
  await session.close()
  return state
}

test('a queue begins at once where it is idle, keeps the order, and goes on after a failure', async (t) => {
  const queue = createQueue()
  const said: string[] = []
  const work = (name: string) => async () => {
    said.push(`${name} begins`)
    await new Promise((done) => setTimeout(done, 5))
    said.push(`${name} ends`)
    if (name === 'b') throw new Error('b fails')
    return name
  }
  const first = queue.run(work('a'))
  t.deepEqual(said, ['a begins'])
  const [second, third] = [queue.run(work('b')), queue.run(work('c'))]
  await t.throwsAsync(second, { message: 'b fails' })
  t.deepEqual([await first, await third], ['a', 'c'])
  t.deepEqual(
    said,
    ['a', 'b', 'c'].flatMap((name) => [`${name} begins`, `${name} ends`]),
  )
  t.true(queue.idle)
})

test('a copy of options shares no array with them', (t) => {
  const options = {
    images: { data: Uint8Array.of(1, 2), shape: [1, 2] },
    mixBox: null,
    layers: [0, 1],
    erase: undefined,
  }
  const copy = copyOf(options, (array) => hostCopy(device.handle, array))
  t.deepEqual(copy, options)
  options.images.data[0] = 9
  options.layers[0] = 9
  t.deepEqual([copy.images.data[0], copy.layers[0]], [1, 0])
})

test('gradients asked for at once are each those of their own batch', async (t) => {
  const session = await open()
  const [a, b] = [await session.lossAndGradients(one()), await session.lossAndGradients(other())]
  const both = await Promise.all([session.lossAndGradients(one()), session.lossAndGradients(other())])
  same(t, both[0], a, 'first')
  same(t, both[1], b, 'second')
  await session.close()
})

test('a batch that is changed right after the call has been read', async (t) => {
  const session = await open()
  const { logits } = await session.forward({ images: imagesOf(1) })
  for (const fresh of [await open(), session]) {
    const images = imagesOf(1)
    const running = fresh.forward({ images }) // the first builds its program before it runs
    images.data.fill(0)
    same(t, (await running).logits, logits)
  }
  const [images, waiting] = [imagesOf(1), session.forward({ images: imagesOf(3) })]
  const after = session.forward({ images })
  images.data.fill(0)
  await waiting
  same(t, (await after).logits, logits)
  await session.close()
})

test('so has one of a Buffer, whose slices are no copies, and one of pages', async (t) => {
  const session = await open()
  const large = createModel('vit', { imageSize: 64, patchSize: 32, embedDim: 12, depth: 1, heads: 2, classes: 4 })
  const other = await createSession({ device, model: large })
  for (const [run, images] of [
    [session, imagesOf(1)],
    [other, { data: Uint8Array.from({ length: 8 * 12288 }, (_, index) => (index * 31) & 255), shape: [8, 64, 64, 3] }],
  ] as const) {
    const { logits } = await run.forward({ images })
    const data = Buffer.from(images.data)
    const waiting = run.forward({ images })
    const after = run.forward({ images: { ...images, data } })
    data.fill(0)
    await waiting
    same(t, (await after).logits, logits)
    await run.close()
  }
})

test('shared memory is refused, also by a session that is at work', async (t) => {
  const session = await open()
  const data = new Uint8Array(new SharedArrayBuffer(4 * 768))
  const message = "Expected memory of one thread for images but received a SharedArrayBuffer's"
  const waiting = session.forward({ images: imagesOf(1) })
  await t.throwsAsync(session.forward({ images: { ...imagesOf(1), data } }), { code: 'SHAPE', message })
  await waiting
  await t.throwsAsync(session.forward({ images: { ...imagesOf(1), data } }), { code: 'SHAPE', message })
  await session.close()
})

test('a state asked for beside steps is that between two of them', async (t) => {
  const session = await open()
  const steps = [step(session), step(session)]
  const state = session.state()
  steps.push(step(session))
  await Promise.all(steps)
  same(t, await state, await stateAfter(2))
  same(t, await session.state(), await stateAfter(3))
  await session.close()
})

test('growing beside steps loses none of them, and closing waits for all', async (t) => {
  const session = await open()
  const steps = [step(session), step(session)]
  const growing = session.grow([0, 1].map((source) => ({ source, added: false })))
  const state = session.state()
  const last = step(session)
  await session.close()
  await Promise.all([...steps, growing, last])
  same(t, await state, await stateAfter(2))
  await t.throwsAsync(step(session), { code: 'DEVICE', message: 'The session is closed' })
})
