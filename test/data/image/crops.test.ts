import { centreCrop, erasedBox, randomResizedCrop } from '../../../lib/data/image/crops.js'
import { drawsOf, Use } from '../../../lib/data/image/draws.js'
import { goldenJson } from '../../golden.js'
import { test } from '../../serial.js'

interface Golden {
  crops: {
    image: number
    evaluation?: { size: number; cropFraction: number; resized: number[]; top: number; left: number }
  }[]
  randomResizedCropStatistics: {
    sizes: Record<
      string,
      {
        areaMean: number
        areaDeviation: number
        aspectLogMean: number
        aspectLogDeviation: number
        leftMean: number
        topMean: number
      }
    >
  }
}
const golden = (await goldenJson('augment')) as Golden
const sizes = [
  [64, 48],
  [48, 64],
  [57, 57],
  [90, 40],
] as const // width, height

test('evaluation crops lie where timm has them', (t) => {
  for (const { image, evaluation } of golden.crops) {
    if (!evaluation) continue
    const { size, cropFraction, resized, top, left } = evaluation
    const crop = centreCrop(sizes[image]![0], sizes[image]![1], size, cropFraction)
    t.deepEqual([crop.height, crop.width, crop.top, crop.left], [...resized, top, left])
  }
})

test('random resized crops are distributed as timm draws them', (t) => {
  const count = 40_000
  for (const [name, wanted] of Object.entries(golden.randomResizedCropStatistics.sizes)) {
    const [width, height] = name.split('x').map(Number) as [number, number]
    const [areas, aspects, lefts, tops]: number[][] = [[], [], [], []]
    for (let sample = 0; sample < count; sample++) {
      const draws = drawsOf({ seed: 1, epoch: 0, sample }, Use.crop)
      const box = randomResizedCrop(width, height, { scale: [0.08, 1], aspect: [3 / 4, 4 / 3] }, draws)
      areas!.push((box.width * box.height) / (width * height))
      aspects!.push(Math.log(box.width / box.height))
      lefts!.push(box.left / width)
      tops!.push(box.top / height)
    }
    const mean = (list: number[]) => list.reduce((sum, value) => sum + value, 0) / count
    const deviation = (list: number[]) => Math.sqrt(mean(list.map((value) => value ** 2)) - mean(list) ** 2)
    for (const [value, expected] of [
      [mean(areas!), wanted.areaMean],
      [deviation(areas!), wanted.areaDeviation],
      [mean(aspects!), wanted.aspectLogMean],
      [deviation(aspects!), wanted.aspectLogDeviation],
      [mean(lefts!), wanted.leftMean],
      [mean(tops!), wanted.topMean],
    ] as const)
      t.true(Math.abs(value - expected) < 0.01, `${name}: ${value} instead of ${expected}`)
  }
})

test('boxes to erase lie within the image, as often as asked', (t) => {
  let erased = 0
  for (let sample = 0; sample < 4000; sample++) {
    const box = erasedBox(32, 0.25, drawsOf({ seed: 2, epoch: 1, sample }, Use.erase))
    if (!box) continue
    erased++
    t.true(box.top >= 0 && box.left >= 0 && box.top + box.height <= 32 && box.left + box.width <= 32)
  }
  t.true(Math.abs(erased / 4000 - 0.25) < 0.035, `${erased}`) // five standard deviations
})
