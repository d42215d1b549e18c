/** Soft targets of tokens from label maps, from the definition: what the op and those that use it are compared with. */
import type { AlignOptions } from '../../lib/ops/index.js'

export interface Maps {
  /** (B, K, h, w) */
  readonly shape: readonly [number, number, number, number]
  readonly classes: Int32Array
  readonly scores: Float32Array
  /** (B, 5) */
  readonly regions: Float32Array
}

/** (B, grid^2, classes), in doubles. A dense map of all classes is made first, which nobody else does. */
export function alignedLabels({ shape, classes, scores, regions }: Maps, options: AlignOptions): number[] {
  const [batch, best, height, width] = shape
  const { grid, classCount, smoothing = 0, logits = false } = options
  const result: number[] = []
  for (let image = 0; image < batch; image++) {
    const dense = new Float64Array(classCount * height * width)
    for (let k = 0; k < best; k++)
      for (let cell = 0; cell < height * width; cell++) {
        const at = (image * best + k) * height * width + cell
        dense[classes[at]! * height * width + cell]! += scores[at]!
      }
    const region = [...regions.subarray(5 * image, 5 * image + 5)] as [number, number, number, number, number]
    for (let row = 0; row < grid; row++)
      for (let column = 0; column < grid; column++) {
        const seen = region[4] === 1 ? grid - 1 - column : column
        const ys = samples(region[1], region[3], height, grid, row)
        const xs = samples(region[0], region[2], width, grid, seen)
        const mean = Array.from({ length: classCount }, (_, label) => {
          const map = dense.subarray(label * height * width, (label + 1) * height * width)
          let sum = 0
          for (const y of ys) for (const x of xs) sum += bilinear(map, width, y, x)
          return sum / (ys.length * xs.length)
        })
        const own = logits ? softmax(mean) : spread(mean)
        result.push(...own.map((value) => (1 - smoothing) * value + smoothing / classCount))
      }
  }
  return result
}

/** Places on one axis, in cells from the centre of the first; those outside are moved to the nearest cell. */
function samples(from: number, to: number, extent: number, grid: number, token: number): number[] {
  const bin = ((to - from) * extent) / grid
  const count = Math.max(1, Math.ceil(bin - 1e-3))
  return Array.from({ length: count }, (_, sample) => {
    const place = from * extent - 0.5 + bin * (token + (sample + 0.5) / count)
    return Math.min(Math.max(place, 0), extent - 1)
  })
}

function bilinear(map: Float64Array, width: number, y: number, x: number): number {
  const [top, left] = [Math.floor(y), Math.floor(x)]
  const at = (row: number, column: number, weight: number) => (weight === 0 ? 0 : weight * map[row * width + column]!)
  const [down, across] = [y - top, x - left]
  return (
    at(top, left, (1 - down) * (1 - across)) +
    at(top, left + 1, (1 - down) * across) +
    at(top + 1, left, down * (1 - across)) +
    at(top + 1, left + 1, down * across)
  )
}

function softmax(values: readonly number[]): number[] {
  const exponentials = values.map((value) => Math.exp(value - Math.max(...values)))
  const sum = exponentials.reduce((total, value) => total + value)
  return exponentials.map((value) => value / sum)
}

function spread(values: readonly number[]): number[] {
  const rest = Math.max(0, 1 - values.reduce((total, value) => total + value))
  return values.map((value) => value + rest / values.length)
}
