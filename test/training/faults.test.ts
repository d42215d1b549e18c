/** Training through a set of which a few files are broken: it ends, and names them; with too many it stops. */
import { truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import { type Config, resolveConfig } from '../../lib/recipe/config.js'
import type { TrainingEvent } from '../../lib/report/events.js'
import { evaluate } from '../../lib/training/evaluate.js'
import { train } from '../../lib/training/trainer.js'
import { noise, temporaryFolder, writeTree } from '../data/images.js'
import { checkError } from '../error.js'
import { test } from '../serial.js'

const classes = ['red', 'blue']
const perClass = 200

/** Noisy JPEGs with a tint, of sizes that differ. */
async function makePictures(root: string): Promise<void> {
  for (const [half, count] of [
    ['train', perClass],
    ['val', 20],
  ] as const) {
    for (const [label, name] of classes.entries()) {
      for (let index = 0; index < count; index++) {
        const [width, height] = [20 + (index % 7), 20 + (index % 5)]
        const pixels = noise(width * height * 3, index).map(
          (value, i) => (i % 3 === 2 * label ? 128 : 0) + (value >> 1),
        )
        const jpeg = await sharp(pixels, { raw: { width, height, channels: 3 } })
          .jpeg()
          .toBuffer()
        await writeTree(root, { [`${half}/${name}/${index}.jpg`]: jpeg })
      }
    }
  }
}

const recipe = (data: string): Config =>
  resolveConfig({
    data,
    model: { kind: 'vit', imageSize: 16, patchSize: 4, embedDim: 24, depth: 2, heads: 2 },
    epochs: 1,
    batch: 16,
    threads: 1,
    schedule: { kind: 'original' },
    learningRate: { warmupEpochs: 0 },
    ema: { decays: [0.9] },
    evaluation: { batch: 40 },
  })

/** The events until the run ends or fails. */
async function run(data: string): Promise<{ events: TrainingEvent[]; error: unknown }> {
  const events: TrainingEvent[] = []
  try {
    for await (const event of train(recipe(data))) events.push(event)
    return { events, error: undefined }
  } catch (error) {
    return { events, error }
  }
}

const notices = (events: readonly TrainingEvent[]) =>
  events.flatMap((event) => (event.type === 'notice' ? [event.message] : []))

const data = await temporaryFolder()
const file = (name: string) => join(data, 'train', name)
test.before(() => makePictures(data))

test('with 0.5 % broken an epoch ends, and each broken image is named once', async (t) => {
  await truncate(file('red/17.jpg'), 400)
  await writeFile(file('blue/3.jpg'), '')
  const { events, error } = await run(data)
  t.is(error, undefined)
  const end = events.find((event) => event.type === 'end')
  t.true(end?.type === 'end' && end.summary.top1! >= 0.5)
  const steps = events.filter((event) => event.type === 'step')
  t.is(steps.length, (classes.length * perClass) / 16)
  t.true(steps.every((event) => event.type === 'step' && Number.isFinite(event.loss)))
  const broken = notices(events).filter((message) => message.startsWith('Cannot read the image'))
  const wanted = [
    `Cannot read the image ${file('blue/3.jpg')}: it has zero bytes; another image stands in for it`,
    `Cannot read the image ${file('red/17.jpg')}: `,
  ]
  t.deepEqual(
    broken.sort().map((message, i) => message.slice(0, wanted[i]!.length)),
    wanted,
  )
})

test('with 2 % broken it stops with an error that lists them', async (t) => {
  const names = Array.from({ length: 8 }, (_, index) => file(`${classes[index % 2]}/${20 * index + 5}.jpg`))
  for (const [index, name] of names.entries()) {
    if (index < 4) await truncate(name, 400)
    else await writeFile(name, '')
  }
  const { events, error } = await run(data)
  const { message } = checkError(t, error as Error, {
    code: 'DATA',
    hint: /replace or remove them; at most 4 of them may be broken/,
  })
  const listed = message.match(/^(\d+) of 400 images are broken: (.*)$/)
  if (listed === null) return t.fail(message)
  const count = Number(listed[1]) // of batches prepared side by side, a later one may have met the fifth
  t.true(count >= 5 && count <= 8, `stops soon after the fifth: ${count}`)
  const known = [...names, file('red/17.jpg'), file('blue/3.jpg')]
  const found = listed[2]!.split('; ').map((entry) => entry.slice(0, entry.indexOf(': ')))
  t.is(found.length, count)
  for (const name of found) t.true(known.includes(name), name)
  t.is(events.at(-1)?.type === 'end', false)
})

test('a broken image that is held out is named once, in training and by an evaluation', async (t) => {
  const root = await temporaryFolder()
  await makePictures(root)
  const broken = join(root, 'val', 'blue', '7.jpg')
  await truncate(broken, 200)
  const out = join(await temporaryFolder(), 'run')
  const said: string[] = []
  for await (const event of train({ ...recipe(root), epochs: 2 }, { out }))
    if (event.type === 'notice') said.push(event.message)
  const named = (messages: readonly string[]) => messages.filter((message) => message.includes('blue/7.jpg'))
  t.is(named(said).length, 1, said.join('\n'))
  t.regex(named(said)[0]!, /another image stands in for it/)
  t.is(named((await evaluate(out)).notices).length, 1)
})
