import type { ProgramDescription, SessionHandle } from '../../lib/native.js'
import { addon, openDevice } from '../../lib/native.js'
import { openTestDevice } from '../device.js'
import { test } from '../serial.js'
import { unless } from '../unless.js'

const device = await openTestDevice()
test.after.always(() => device.close())

unless(device.kind === 'cpu' && 'the processor is one')(
  'a GPU that is not there is an error that tells those that are',
  async (t) => {
    const message = /There is no cuda:7: this machine has \d+ GPUs?, (from )?cuda:0/
    await t.throwsAsync(openDevice(`${device.kind}:7`), { code: 'DEVICE', message })
  },
)

// The emulated device fails where a kernel reads what nobody has written; a GPU has no failure as easy to have.
unless(device.kind !== 'cuda-emulated' && 'there is no emulated device')(
  'a failed kernel is the answer to all that follows, and the process goes on',
  async (t) => {
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
    const run = async (session: SessionHandle) =>
      addon().runProgram(await addon().createProgram(session, description), { x: new Float32Array(6) })
    const session = await addon().createSession(device.handle, [0, 1024])
    const other = await addon().createSession(device.handle, [0, 1024])
    const failure = { code: 'DEVICE', message: /output 0 of linear holds the poison of unwritten memory/ }
    await t.throwsAsync(run(session), failure)
    await t.throwsAsync(run(session), failure)
    await t.throwsAsync(run(other), failure)
    await t.throwsAsync(addon().readArena(session, 1, 0, 'f32', 4), failure)
    addon().closeSession(session)
    addon().closeSession(other)
    const cpu = await openDevice('cpu')
    t.true((await cpu.measureGemm(8, 8, 8)) > 0)
    await cpu.close()
  },
)
