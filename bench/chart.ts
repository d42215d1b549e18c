/** A comparison as a picture: held-out top-1 over training time, a line and a band a scheme. */

/** Held-out top-1, in [0, 1], after so many seconds of training. */
export type Point = readonly [seconds: number, top1: number]

export interface Curve {
  readonly scheme: string
  /** One a seed, a point an epoch. */
  readonly curve: readonly Point[]
}

/** The seeds of a scheme together: mean time, and mean and range of top-1. */
interface Band {
  readonly scheme: string
  readonly points: readonly { seconds: number; mean: number; low: number; high: number }[]
}

const colors: Record<string, string> = {
  original: '#4b5563',
  'original-short': '#b45309',
  prog: '#2563eb',
  autoprog: '#059669',
}
const colorOf = (scheme: string) => colors[scheme] ?? '#9333ea'
const [width, height] = [860, 420]
const margin = { left: 64, right: 176, top: 24, bottom: 48 }

/** SVG of the curves. Throws where there are none. */
export function drawChart(curves: readonly Curve[], title: string): string {
  const drawn = curves.filter(({ curve }) => curve.length > 0)
  if (drawn.length === 0) throw new Error('There are no curves: neither in the file nor in the folders it names')
  const bands = [...new Set(drawn.map(({ scheme }) => scheme))].map((scheme) => bandOf(scheme, drawn))
  const all = bands.flatMap(({ points }) => points)
  const time = timeAxis(Math.max(...all.map(({ seconds }) => seconds)))
  const scores = scoreAxis(Math.min(...all.map(({ low }) => low)), Math.max(...all.map(({ high }) => high)))
  const x = (seconds: number) => margin.left + ((width - margin.left - margin.right) * seconds) / time.longest
  const y = (top1: number) =>
    height -
    margin.bottom -
    ((height - margin.top - margin.bottom) * (top1 - scores.lowest)) / (scores.highest - scores.lowest)
  const right = width - margin.right
  const parts = [
    ...scores.ticks.flatMap((top1) => [
      `<line x1="${margin.left}" x2="${right}" y1="${y(top1)}" y2="${y(top1)}" stroke="#e5e7eb"/>`,
      text(margin.left - 8, y(top1) + 4, `${Number((100 * top1).toFixed(1))} %`, 'text-anchor="end"'),
    ]),
    ...time.ticks.flatMap((seconds) => [
      `<line x1="${x(seconds)}" x2="${x(seconds)}" y1="${height - margin.bottom}" y2="${height - margin.bottom + 5}" stroke="#9ca3af"/>`,
      text(x(seconds), height - margin.bottom + 20, `${seconds / time.unit.seconds}`, 'text-anchor="middle"'),
    ]),
    ...bands.map((band) => area(band, x, y)),
    ...bands.map((band) => line(band, x, y)),
    ...bands.map(({ scheme, points }, index) => {
      const end = `${(100 * points.at(-1)!.mean).toFixed(1)} %`
      return text(
        right + 16,
        margin.top + 20 + 22 * index,
        `${scheme} ${end}`,
        `fill="${colorOf(scheme)}" font-weight="600"`,
      )
    }),
    text((margin.left + right) / 2, height - 10, `${time.unit.name} of training · ${title}`, 'text-anchor="middle"'),
  ]
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="13" fill="#374151"><rect width="100%" height="100%" fill="white"/>${parts.join('')}</svg>`
}

/** Seeds are compared at equal shares of their runs, whose lengths may differ. */
function bandOf(scheme: string, curves: readonly Curve[]): Band {
  const own = curves.filter((each) => each.scheme === scheme).map(({ curve }) => curve)
  const count = Math.max(...own.map((curve) => curve.length))
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
  const points = Array.from({ length: count }, (_, index) => {
    const at = own.map((curve) => pointAt(curve, ((index + 1) / count) * curve.length - 1))
    const scores = at.map(([, top1]) => top1)
    const seconds = mean(at.map(([time]) => time))
    return { seconds, mean: mean(scores), low: Math.min(...scores), high: Math.max(...scores) }
  })
  return { scheme, points }
}

function pointAt(curve: readonly Point[], position: number): Point {
  const from = Math.max(0, Math.floor(position))
  const [a, b] = [curve[from]!, curve[Math.min(from + 1, curve.length - 1)]!]
  const share = Math.max(0, position - from)
  return [a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])]
}

type Scale = (value: number) => number
const place = (x: Scale, y: Scale) => (seconds: number, top1: number) =>
  `${x(seconds).toFixed(1)},${y(top1).toFixed(1)}`

/** From the worst to the best seed. */
function area({ scheme, points }: Band, x: Scale, y: Scale): string {
  const at = place(x, y)
  const outline = [
    ...points.map(({ seconds, high }) => at(seconds, high)),
    ...points.map(({ seconds, low }) => at(seconds, low)).reverse(),
  ]
  return `<polygon points="${outline.join(' ')}" fill="${colorOf(scheme)}" fill-opacity="0.18"/>`
}

function line({ scheme, points }: Band, x: Scale, y: Scale): string {
  const path = points.map(({ seconds, mean }) => place(x, y)(seconds, mean)).join(' ')
  const [color, end] = [colorOf(scheme), points.at(-1)!]
  return `<polyline points="${path}" fill="none" stroke="${color}" stroke-width="2"/><circle cx="${x(end.seconds)}" cy="${y(end.mean)}" r="4" fill="${color}"/>`
}

const text = (x: number, y: number, content: string, extra: string) =>
  `<text x="${x}" y="${y}" ${extra}>${content}</text>`

/** Four to eight round steps, in the unit that suits them. */
export function timeAxis(longest: number) {
  const units = [
    { name: 'seconds', seconds: 1 },
    { name: 'minutes', seconds: 60 },
    { name: 'hours', seconds: 3600 },
  ]
  const unit = units.findLast(({ seconds }) => longest >= 2 * seconds) ?? units[0]!
  const step = roundStep(longest / unit.seconds / 8) * unit.seconds
  return { longest, unit, ticks: steps(0, longest, step) }
}

function scoreAxis(low: number, high: number) {
  const step = roundStep((high - low) / 6)
  const lowest = Math.floor(low / step + 1e-9) * step
  const highest = Math.max(lowest + step, Math.ceil(high / step - 1e-9) * step)
  return { lowest, highest, ticks: steps(lowest, highest, step) }
}

const steps = (from: number, to: number, step: number) =>
  Array.from({ length: Math.floor((to - from) / step + 1e-9) + 1 }, (_, index) => from + index * step)

/** The next of …, 0.1, 0.2, 0.5, 1, 2, 5, 10, … */
function roundStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1e-3)))
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least * (1 - 1e-9))!
}
