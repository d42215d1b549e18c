import type { ProgramDescription } from '../../lib/native.js'
import { addon } from '../../lib/native.js'
import { openTestDevice } from '../device.js'
import { test } from '../serial.js'

// Kernels load and store up to 16 bytes as one: on a GPU one operand elsewhere ends all work for the process.
const device = await openTestDevice()
test.after.always(() => device.close())

type Place = readonly [offset: number, shape: number[]]

function program(op: string, inputs: readonly Place[], outputs: readonly Place[], attributes = {}): ProgramDescription {
  const places = [...inputs, ...outputs]
  return {
    ...{ batch: 1, microBatch: 1, activationBytes: 0 },
    tensors: places.map(([offset, shape]) => ({ arena: 1, offset, type: 'f32', shape })),
    nodes: [
      {
        ...{ op, phase: 1, attributes },
        inputs: inputs.map((_, index) => index),
        outputs: outputs.map((_, index) => inputs.length + index),
      },
    ],
    ...{ inputs: [], outputs: [] },
  }
}

async function build(description: ProgramDescription): Promise<void> {
  const session = await addon().createSession(device.handle, [0, 4096])
  try {
    addon().closeProgram(await addon().createProgram(session, description))
  } finally {
    addon().closeSession(session)
  }
}

const x: Place = [0, [2, 4]]
const y: Place = [1024, [2, 4]]
const weight: Place = [2048, [4, 4]]
const bias: Place = [3072, [4]]
const at = (offset: number, [, shape]: Place): Place => [offset, shape]

for (const offset of [4, 8, 12, 1028])
  test(`an operand at byte ${offset} is refused, and named`, async (t) => {
    const refused = (side: string, index: number) => ({
      code: 'SHAPE',
      message: new RegExp(
        `^\\w+: Expected a multiple of 16 bytes for the offset of ${side} ${index}, f32\\[2, 4\\], but received ${offset}$`,
      ),
    })
    await t.throwsAsync(build(program('cast', [at(offset, x)], [y])), refused('input', 0))
    await t.throwsAsync(build(program('cast', [x], [at(offset, y)])), refused('output', 0))
    await t.throwsAsync(build(program('linear', [at(offset, x), weight, bias], [y])), refused('input', 0))
    await t.throwsAsync(build(program('linear', [x, weight, bias], [at(offset, y)])), refused('output', 0))
    const gradient = { biased: 1 }
    await t.throwsAsync(
      build(program('linearGradientWeight', [at(offset, y), x], [weight, bias], gradient)),
      refused('input', 0),
    )
  })

test('what only products touch may lie at any element, such as rows of a larger weight', async (t) => {
  const [oddWeight, oddBias] = [at(2048 + 36, weight), at(3072 + 4, bias)]
  await t.notThrowsAsync(build(program('linear', [x, oddWeight, oddBias], [y])))
  await t.notThrowsAsync(build(program('linearGradientInput', [y, oddWeight], [x])))
  await t.notThrowsAsync(build(program('linearGradientWeight', [y, x], [oddWeight, oddBias], { biased: 1 })))
})

test('an operand at half an element is refused everywhere', async (t) => {
  await t.throwsAsync(build(program('linear', [x, at(2050, weight), bias], [y])), { code: 'SHAPE' })
})
