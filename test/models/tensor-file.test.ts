import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AutoprogError } from '../../lib/errors.js'
import { readTensors, writeTensors } from '../../lib/models/tensor-file.js'
import { draw, Purpose } from '../../lib/random.js'
import { checkError } from '../error.js'
import { test } from '../serial.js'
import { unless } from '../unless.js'

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
  ['an unknown type', () => file({ a: { ...f32([1], 0, 4), dtype: 'F64' } }, 4), /a has type F64/],
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

test('safetensors: a flipped bit anywhere is an error, also in the metadata', async (t) => {
  const path = join(folder, 'flipped.safetensors')
  const values = Float32Array.from({ length: 40 }, (_, index) => Math.sin(index))
  await writeTensors(path, new Map([['a', { shape: [40], values }]]), { version: '2', note: 'x' })
  t.true((await readTensors(path)).checked)
  const bytes = await readFile(path)
  let unchecked = 0
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    const wrong = Buffer.from(bytes)
    wrong[bit >> 3]! ^= 1 << (bit & 7)
    await writeFile(path, wrong)
    const read = await readTensors(path).catch(() => undefined)
    if (read?.checked) t.fail(`bit ${bit}`)
    if (read !== undefined) unchecked++ // the name of the checksum itself: whoever wants one sees that there is none
  }
  t.true(unchecked <= 8 * 'autoprog_crc32'.length + 8 * '__metadata__'.length, `${unchecked}`)
})

test('safetensors: 16-bit floats of both kinds are widened', async (t) => {
  const text = JSON.stringify({
    half: { dtype: 'F16', shape: [3], data_offsets: [0, 6] },
    bfloat: { dtype: 'BF16', shape: [3], data_offsets: [6, 12] },
  })
  const head = Buffer.alloc(8)
  head.writeBigUInt64LE(BigInt(text.length))
  const path = join(folder, 'half.safetensors')
  // 1, -2, 2^-24 and 1, -2, 3.140625.
  const data = Buffer.from(Uint16Array.of(0x3c00, 0xc000, 1, 0x3f80, 0xc000, 0x4049).buffer)
  await writeFile(path, Buffer.concat([head, Buffer.from(text), data]))
  const { tensors, checked } = await readTensors(path)
  t.false(checked)
  t.deepEqual([...tensors.get('half')!.values], [1, -2, 2 ** -24])
  t.deepEqual([...tensors.get('bfloat')!.values], [1, -2, 3.140625])
})

test('safetensors: more than two gigabytes are written and read', async (t) => {
  const path = join(folder, 'large.safetensors')
  const values = Float32Array.from({ length: 2 ** 26 }, (_, index) => index)
  await writeTensors(path, new Map([...'abcdefghi'].map((name) => [name, { shape: [2 ** 26], values }])))
  t.true((await stat(path)).size > 2 ** 31)
  const { tensors, checked } = await readTensors(path)
  await rm(path)
  t.true(checked)
  t.is(tensors.size, 9)
  for (const name of 'ai')
    t.is(Buffer.compare(Buffer.from(tensors.get(name)!.values.buffer), Buffer.from(values.buffer)), 0)
})

unless(process.platform !== 'linux' && 'only Linux is sure to say what is free')(
  'safetensors: a file larger than memory is refused before it is read',
  async (t) => {
    const bytes = 2 ** 43 // no disk holds it: all but the header is a hole
    const path = await file({ a: { dtype: 'U8', shape: [bytes], data_offsets: [0, bytes] } }, 0)
    await truncate(path, (await stat(path)).size + bytes)
    checkError(t, await t.throwsAsync(readTensors(path)), {
      code: 'MEMORY',
      message:
        /^Reading .*case.safetensors needs 8192.0 GiB of memory \(tensors 8192.0 GiB\), but [\d.]+ [GM]iB are free$/,
      hint: /more memory/,
    })
  },
)

test('safetensors: names of any length leave an error short', async (t) => {
  const name = 'n'.repeat(1e6)
  const entry = (dtype: string, shape: number[], bytes: number) => ({ dtype, shape, data_offsets: [0, bytes] })
  for (const header of [
    { [name]: entry('F32', [3], 8) },
    { [name]: entry('I64', [1], 8) },
    { [name]: entry('F32', [2], 9e9) },
    { [name]: entry(name, [2], 8) },
    { [name]: f32([2], 0, 8), [`${name}b`]: f32([1], 4, 8) },
    { a: entry('F32', Array(1e5).fill(1), 8) },
  ]) {
    const { message } = await t.throwsAsync(readTensors(await file(header, 8)))
    t.true(message.length < 1500, message.slice(0, 200))
  }
})

test('safetensors: neither a pipe nor a device is waited for', async (t) => {
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  for (const path of [pipe, '/dev/zero', folder])
    await t.throwsAsync(readTensors(path), { code: 'CHECKPOINT', message: /not a regular file/ })
})

test('safetensors: an error while writing leaves the old file', async (t) => {
  const path = join(folder, 'missing', 'w.safetensors')
  await t.throwsAsync(writeTensors(path, new Map()), { message: /the folder does not exist/ })
  await mkdir(join(folder, 'taken.safetensors'))
  await t.throwsAsync(writeTensors(join(folder, 'taken.safetensors'), new Map()), { message: /Cannot write/ })
  t.true(!(await readdir(folder)).some((name) => name.endsWith('.tmp')))
})

test('headers damaged in some hundred ways are read or refused with CHECKPOINT', async (t) => {
  const path = join(folder, 'hostile.safetensors')
  const values: unknown[] = [
    ...[
      null,
      true,
      -1,
      0.5,
      1,
      2 ** 31,
      2 ** 53,
      1e308,
      '',
      'F32',
      'I64',
      'x',
      '__proto__',
      [],
      [0],
      [4, 0],
      [0, 2 ** 53],
    ],
    ...[[2 ** 40, 2 ** 40], [[]], ['0', '4'], [null, null], {}, { dtype: 'F32' }, Array(3000).fill(1)],
  ]
  const header = () => ({
    __metadata__: { note: 'x' },
    a: { dtype: 'F32', shape: [2, 2], data_offsets: [0, 16] },
    b: { dtype: 'U8', shape: [4], data_offsets: [16, 20] },
  })
  const write = (text: string | Uint8Array, length = Buffer.byteLength(text)) => {
    const start = Buffer.alloc(8)
    start.writeBigUInt64LE(BigInt(length))
    return writeFile(path, Buffer.concat([start, Buffer.from(text as string), Buffer.alloc(20)]))
  }
  let [read, refused] = [0, 0]
  const attempt = async (what: string) => {
    try {
      await readTensors(path)
      read++
    } catch (error) {
      refused++
      if (!(error instanceof AutoprogError && error.code === 'CHECKPOINT')) t.fail(`${what}: ${error}`)
    }
  }
  const paths = [[], ['__metadata__'], ['__metadata__', 'note'], ['a'], ['b']]
  for (const name of ['a', 'b'])
    for (const key of ['dtype', 'shape', 'data_offsets']) paths.push([name, key], [name, key, '0'], [name, key, '1'])
  for (const place of paths)
    for (const value of values) {
      const root: Record<string, unknown> = { root: header() }
      const parent = ['root', ...place].slice(0, -1).reduce((at, key) => at[key] as typeof root, root)
      if (typeof parent === 'object') parent[['root', ...place].at(-1)!] = value
      const text = JSON.stringify(root.root)
      await write(text)
      await attempt(text)
    }
  const text = JSON.stringify(header())
  for (let trial = 0; trial < 300; trial++) {
    const [at, flip] = draw(3, Purpose.order, 0, trial)
    const bytes = Buffer.from(text)
    bytes[at! % bytes.length]! ^= 1 + (flip! % 255)
    await write(bytes)
    await attempt(`byte ${at! % bytes.length} of trial ${trial}`)
  }
  for (const length of [0, 1, text.length - 1, text.length + 1, text.length + 20, text.length + 21, 2 ** 40, 2 ** 53]) {
    await write(text, length)
    await attempt(`length ${length}`)
  }
  for (const whole of ['', '{', '[]', 'null', '['.repeat(100_000), `{"a":${'{"a":'.repeat(20_000)}`]) {
    await write(whole)
    await attempt(whole.slice(0, 20))
  }
  t.true(read > 20 && refused > 500, `${read} read, ${refused} refused`)
})
