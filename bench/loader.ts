/**
 * The loader beside timm's, on the same images and cores, in turn:
 *   node --import tsx bench/photos.ts FOLDER
 *   node --import tsx bench/loader.ts FOLDER [--workers 2] [--count 1024] [--rounds 7] [--python PATH]
 *                                     [--out docs/results/loader.json]
 * Training images with all of DeiT's augmentation, at full size and at a first stage's, then RandAugment alone on decoded
 * images; the packs are of at most 288 pixels, the peer's images those of the folder. PyTorch and timm must be importable by that Python; without them only our own figures are printed.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Dataset, loadDataset } from '../datasets/index.js'
import { drawsOf, Use } from '../lib/data/image/draws.js'
import { transformImages } from '../lib/data/image/operations.js'
import { randAugment } from '../lib/data/image/rand-augment.js'
import type { Augmentation } from '../lib/data/image/transform.js'
import { createLoader, type Loader } from '../lib/data/loader.js'
import { packDataset } from '../lib/data/source/packing.js'
import { describeMachine } from '../lib/report/machine.js'
import { table } from '../lib/report/table.js'
import { median, startWorker } from './worker.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    workers: { type: 'string', default: '2' },
    count: { type: 'string', default: '1024' },
    rounds: { type: 'string', default: '7' },
    python: { type: 'string', default: 'python3' },
    out: { type: 'string' },
  },
})
const [folder] = positionals
if (folder === undefined) throw new Error('Give a folder of JPEGs in class folders')
const [workers, count, rounds] = [Number(values.workers), Number(values.count), Number(values.rounds)]

const augmentation: Augmentation = {
  ...{ crop: 'resized', pad: 0, scale: [0.08, 1], aspect: [3 / 4, 4 / 3], flip: true, filter: 'bicubic' },
  ...{ colorJitter: 0, randAugment: { magnitude: 9, deviation: 0.5, layers: 2 }, fill: [124, 116, 104] },
  exact: false,
}

interface Took {
  readonly seconds: number
  readonly processorSeconds: number
}

async function timed(work: () => Promise<void>): Promise<Took> {
  const [begun, before] = [performance.now(), process.cpuUsage()]
  await work()
  const { user, system } = process.cpuUsage(before)
  return { seconds: (performance.now() - begun) / 1000, processorSeconds: (user + system) / 1e6 }
}

const dataset = await loadDataset(folder)
if (dataset.train.uniform !== undefined)
  throw new Error('These images are all alike and lie decoded in memory: nothing would be decoded')
const batch = 128

const loaderOf = ({ train }: Dataset) => createLoader(train, { batch, seed: 0, shuffle: true, augmentation, workers })

/** Round 0 is an epoch: every file is then known to be sound, and read no further than it is needed. */
async function load(loader: Loader, size: number, round: number): Promise<Took> {
  const firstStep = round === 0 ? 0 : loader.stepsPerEpoch + (round - 1) * (count / batch)
  const steps = round === 0 ? loader.stepsPerEpoch : count / batch
  return timed(async () => {
    for await (const _ of loader.batches({ sizeOf: () => size, firstStep, steps }));
  })
}

/** On one thread, as the peer. */
async function augment(size: number, round: number): Promise<Took> {
  const pictures = await Promise.all(
    Array.from({ length: 32 }, async (_, index) => {
      const picture = await dataset.train.load(index)
      const pixels = new Uint8Array(size * size * 3)
      const region = [0, 0, picture.width, picture.height] as const
      const resize = { op: 'resize', width: size, height: size, filter: 'bicubic', region } as const
      await transformImages([picture], 3, [[resize]], { height: size, width: size }, pixels)
      return { pixels, height: size, width: size }
    }),
  )
  const target = new Uint8Array(size * size * 3)
  const settings = { width: size, height: size, filter: 'bicubic', fill: augmentation.fill } as const
  return timed(async () => {
    for (let sample = 0; sample < count; sample++) {
      const draws = drawsOf({ seed: round, epoch: 0, sample }, Use.recolour)
      const plan = randAugment(augmentation.randAugment!, settings, draws)
      await transformImages([pictures[sample % 32]!], 3, [plan], settings, target)
    }
  })
}

const packs = mkdtempSync(join(tmpdir(), 'autoprog-bench-'))
async function packed(raw: boolean): Promise<Dataset> {
  const file = join(packs, raw ? 'raw.pack' : 'jpeg.pack')
  await packDataset(dataset, file, { raw })
  return loadDataset(file)
}
const sets = { folder: dataset, raw: await packed(true), jpeg: await packed(false) }

const loading = (name: string, set: Dataset, size: number) => {
  const loader = loaderOf(set)
  return { name, ours: (round: number) => load(loader, size, round), command: 'load', size }
}
const cases = [
  loading('DeiT training images, 224 px', sets.folder, 224),
  loading('DeiT training images, 96 px', sets.folder, 96),
  loading('the same from a pack of JPEG, 224 px', sets.jpeg, 224),
  loading('the same from a pack of pixels, 224 px', sets.raw, 224),
  { name: 'RandAugment alone, 224 px', ours: (round: number) => augment(224, round), command: 'augment', size: 224 },
]

const peer = startWorker(values.python, [
  fileURLToPath(new URL('loader_peer.py', import.meta.url)),
  folder,
  String(workers),
])
const versions = await peer.ask('versions')
const results = []
for (const { name, ours, command, size } of cases) {
  const first = await ours(0)
  const [mine, theirs]: [Took[], Took[]] = [[], []]
  for (let round = 1; round <= rounds; round++) {
    mine.push(await ours(round))
    const answer = versions && (await peer.ask(`${command} ${size} ${count}`))
    if (answer) theirs.push(answer as unknown as Took)
  }
  const speed = (list: readonly Took[]) => count / median(list.map(({ seconds }) => seconds))
  const cost = (list: readonly Took[]) => (1000 * median(list.map((each) => each.processorSeconds))) / count
  const ratio = (of: (took: Took) => number) => median(theirs.map((each, round) => of(each) / of(mine[round]!)))
  results.push({
    name,
    imagesPerSecond: speed(mine),
    processorMilliseconds: cost(mine),
    // Of the first epoch, which reads every file to its end.
    ...(command === 'load' && {
      firstEpochProcessorMilliseconds:
        (1000 * first.processorSeconds) / (Math.floor(dataset.train.length / batch) * batch),
    }),
    peer:
      theirs.length === 0
        ? null
        : {
            imagesPerSecond: speed(theirs),
            processorMilliseconds: cost(theirs),
            ratio: ratio(({ seconds }) => seconds),
            processorRatio: ratio(({ processorSeconds }) => processorSeconds),
          },
    rounds: { ours: mine, peer: theirs },
  })
}
peer.stop()
for (const set of Object.values(sets)) await set.close()
rmSync(packs, { recursive: true })
console.log(
  table(
    ['', 'images/s', 'timm', 'faster', 'ms of a core', 'timm', 'less'],
    results.map(({ name, imagesPerSecond, processorMilliseconds, peer: other }) => [
      name,
      imagesPerSecond.toFixed(0),
      other?.imagesPerSecond.toFixed(0) ?? 'none',
      other ? `${other.ratio.toFixed(2)}x` : '',
      processorMilliseconds.toFixed(2),
      other?.processorMilliseconds.toFixed(2) ?? '',
      other ? `${other.processorRatio.toFixed(2)}x` : '',
    ]),
    1,
  ),
)
if (values.out) {
  mkdirSync(dirname(values.out), { recursive: true })
  const document = { bench: 'loader', date: new Date().toISOString(), machine: describeMachine(), versions, workers }
  writeFileSync(values.out, `${JSON.stringify({ ...document, results }, null, 2)}\n`)
}
