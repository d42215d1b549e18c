import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { createModel } from '../../lib/models/registry.js'
import { matchWeights, readTensors, writeTensors } from '../../lib/models/weights.js'

let folder: string
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'autoprog-weights-'))
})
test.after.always(() => rm(folder, { recursive: true, force: true }))

/** A file of this header and so many bytes of data. */
async function file(header: unknown, bytes: number, length?: number): Promise<string> {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const head = Buffer.alloc(8)
  head.writeBigUInt64LE(BigInt(length ?? text.length))
  const path = join(folder, 'case.safetensors')
  await writeFile(path, Buffer.concat([head, text, Buffer.alloc(bytes)]))
  return path
}

test('safetensors: what is written is read back, metadata included', async (t) => {
  const path = join(folder, 'round.safetensors')
  const tensors = new Map([
    ['mask', { shape: [3], values: Uint8Array.of(1, 0, 255) }],
    ['a', { shape: [2, 2], values: Float32Array.of(1, -2.5, 3e-40, Number.NaN) }],
    ['steps', { shape: [], values: Int32Array.of(-7) }],
    ['none', { shape: [0, 4], values: new Float32Array(0) }],
  ])
  await writeTensors(path, tensors, { note: 'ä' })
  const back = await readTensors(path)
  t.deepEqual(new Map([...back.tensors].sort()), new Map([...tensors].sort()))
  t.deepEqual(back.metadata, { note: 'ä' })
  t.deepEqual(await readdir(folder), ['round.safetensors'])
})

const f32 = (shape: number[], from: number, to: number) => ({ dtype: 'F32', shape, data_offsets: [from, to] })
const broken: [string, () => Promise<string>, RegExp][] = [
  ['no file', async () => join(folder, 'nothing'), /Cannot read .*ENOENT/],
  [
    'an empty file',
    async () => {
      await writeFile(join(folder, 'empty'), '')
      return join(folder, 'empty')
    },
    /it has 0 bytes/,
  ],
  ['a header longer than the file', () => file({}, 0, 1e6), /its header claims 1000000 bytes/],
  ['a header of absurd length', () => file({}, 0, 2 ** 52), /its header claims/],
  ['a header that is no JSON', () => file('{"a":', 0), /its header is not JSON/],
  ['a header that is no object', () => file([1], 0), /not an object of tensors/],
  ['an unknown type', () => file({ a: { ...f32([1], 0, 4), dtype: 'BF16' } }, 4), /a has type BF16/],
  ['a type of another kind', () => file({ a: { ...f32([1], 0, 4), dtype: 'toString' } }, 4), /a has type toString/],
  ['a negative extent', () => file({ a: f32([-1], 0, 4) }, 4), /no proper shape/],
  ['offsets out of range', () => file({ a: f32([2], 0, 8) }, 4), /bytes 0 to 8 of 4/],
  ['offsets in reverse', () => file({ a: f32([1], 4, 0) }, 4), /bytes 4 to 0/],
  ['a shape that does not fit its bytes', () => file({ a: f32([3], 0, 8) }, 8), /should have 12 bytes but has 8/],
  ['tensors that overlap', () => file({ a: f32([2], 0, 8), b: f32([2], 4, 12) }, 12), /b overlaps/],
  ['a gap', () => file({ a: f32([1], 0, 4), b: f32([1], 8, 12) }, 12), /b leaves a gap/],
  ['bytes that belong to nobody', () => file({ a: f32([1], 0, 4) }, 8), /4 bytes belong to no tensor/],
]
for (const [name, make, pattern] of broken)
  test(`safetensors: ${name} is an error`, async (t) => {
    await t.throwsAsync(readTensors(await make()), { code: 'CHECKPOINT', message: pattern })
  })

test('safetensors: a file cut off anywhere is an error', async (t) => {
  const path = join(folder, 'cut.safetensors')
  await writeTensors(path, new Map([['a', { shape: [4], values: Float32Array.of(1, 2, 3, 4) }]]))
  const bytes = await readFile(path)
  for (let length = 0; length < bytes.length; length++) {
    await writeFile(path, bytes.subarray(0, length))
    await t.throwsAsync(readTensors(path), undefined, `${length} bytes`)
  }
})

test('safetensors: an error while writing leaves the old file', async (t) => {
  const path = join(folder, 'missing', 'w.safetensors')
  await t.throwsAsync(writeTensors(path, new Map()), { message: /the folder does not exist/ })
  await mkdir(join(folder, 'taken.safetensors'))
  await t.throwsAsync(writeTensors(join(folder, 'taken.safetensors'), new Map()), { message: /Cannot write/ })
  t.true(!(await readdir(folder)).some((name) => name.endsWith('.tmp')))
})

test('weights that do not fit are listed whole in one error', (t) => {
  const model = createModel('vit', { imageSize: 8, patchSize: 8, embedDim: 4, depth: 1, heads: 1, classes: 3 })
  const tensors = new Map(
    model.parameters.map(({ name, shape }) => [
      name,
      { shape, values: new Float32Array(shape.reduce((a, b) => a * b, 1)) },
    ]),
  )
  t.is(matchWeights('w', { tensors, metadata: {} }, model).size, model.parameters.length)
  const other = new Map<string, { shape: readonly number[]; values: Float32Array | Int32Array }>(tensors)
  other.delete('cls_token')
  other.set('head.bias', { shape: [5], values: new Float32Array(5) })
  other.set('norm.bias', { shape: [4], values: new Int32Array(4) })
  other.set('extra', { shape: [1], values: new Float32Array(1) })
  const { message } = t.throws(() => matchWeights('w', { tensors: other, metadata: {} }, model))!
  for (const line of [
    'cls_token is missing',
    'head.bias has shape [5] instead of [3]',
    'norm.bias is not F32',
    'extra is not a parameter of the model',
  ])
    t.true(message.includes(line), line)
})
