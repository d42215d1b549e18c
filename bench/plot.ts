/**
 * Draws a comparison and puts its table into the README:
 *   node --import tsx bench/plot.ts docs/results/fashion-mnist.json
 * The curves come from the run folders named in the file, and are kept in it, so that it can be drawn again without them.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import sharp from 'sharp'
import type { ComparedRun } from '../lib/report/comparison.js'
import { compareRuns, comparisonMarkdown } from '../lib/report/comparison.js'
import { readEvents } from '../lib/report/run-folder.js'

/** Held-out top-1 after so many seconds of training. */
type Point = [seconds: number, top1: number]
type Run = ComparedRun & { folder: string; curve?: Point[] }

const colors: Record<string, string> = {
  original: '#6b7280',
  'original-short': '#b45309',
  prog: '#2563eb',
  autoprog: '#059669',
}
const [width, height] = [860, 420]
const margin = { left: 64, right: 150, top: 24, bottom: 48 }

function curveOf({ folder, curve }: Run): Point[] {
  if (curve || !existsSync(folder)) return curve ?? []
  const points: Point[] = []
  let seconds = 0
  for (const event of readEvents(folder)) {
    if (event.type === 'step') seconds += event.seconds
    if (event.type === 'epoch' && event.top1 !== null)
      points.push([seconds, Math.max(event.top1, ...event.emas.map(({ top1 }) => top1))])
  }
  return points
}

function draw(runs: readonly Run[], title: string): string {
  const points = runs.flatMap(({ curve }) => curve ?? [])
  if (points.length === 0) throw new Error('There are no curves: neither in the file nor in the folders it names')
  const longest = Math.max(...points.map(([seconds]) => seconds))
  const scores = points.map(([, top1]) => top1)
  const lowest = Math.floor(20 * Math.min(...scores)) / 20
  const highest = Math.ceil(20 * Math.max(...scores)) / 20
  const x = (seconds: number) => margin.left + ((width - margin.left - margin.right) * seconds) / longest
  const y = (top1: number) =>
    height - margin.bottom - ((height - margin.top - margin.bottom) * (top1 - lowest)) / (highest - lowest)
  const text = (at: [number, number], content: string, extra = '') =>
    `<text x="${at[0]}" y="${at[1]}" ${extra}>${content}</text>`
  const minutes = longest > 300 ? 2 : 1
  const grid = [
    ...Array.from({ length: Math.round((highest - lowest) / 0.05) + 1 }, (_, index) => lowest + index * 0.05).flatMap(
      (top1) => [
        `<line x1="${margin.left}" x2="${width - margin.right}" y1="${y(top1)}" y2="${y(top1)}" stroke="#e5e7eb"/>`,
        text([margin.left - 8, y(top1) + 4], `${Math.round(100 * top1)} %`, 'text-anchor="end"'),
      ],
    ),
    ...Array.from({ length: Math.floor(longest / 60 / minutes) + 1 }, (_, index) => index * minutes).map((minute) =>
      text([x(60 * minute), height - margin.bottom + 20], String(minute), 'text-anchor="middle"'),
    ),
  ]
  const lines = runs.map(({ scheme, curve = [] }) => {
    const path = curve.map(([seconds, top1]) => `${x(seconds).toFixed(1)},${y(top1).toFixed(1)}`).join(' ')
    const [seconds, top1] = curve.at(-1) ?? [0, lowest]
    return `<polyline points="${path}" fill="none" stroke="${colors[scheme] ?? '#111827'}" stroke-width="2"/><circle cx="${x(seconds)}" cy="${y(top1)}" r="4" fill="${colors[scheme] ?? '#111827'}"/>`
  })
  const names = [...new Set(runs.map(({ scheme }) => scheme))].map((scheme, index) =>
    text(
      [width - margin.right + 16, margin.top + 20 + 22 * index],
      scheme,
      `fill="${colors[scheme] ?? '#111827'}" font-weight="600"`,
    ),
  )
  const axis = text(
    [(margin.left + width - margin.right) / 2, height - 10],
    `minutes of training · ${title}`,
    'text-anchor="middle"',
  )
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="13" fill="#374151"><rect width="100%" height="100%" fill="white"/>${[...grid, ...lines, ...names, axis].join('')}</svg>`
}

const [file] = process.argv.slice(2)
if (file === undefined) throw new Error('Give the JSON file of a comparison, such as docs/results/fashion-mnist.json')
const document = JSON.parse(readFileSync(file, 'utf8')) as { recipe: string; runs: Run[] }
for (const run of document.runs) {
  run.curve = curveOf(run)
  run.folder = basename(run.folder) // where it lay is nobody's business
}
writeFileSync(file, `${JSON.stringify(document, null, 2)}\n`)
const image = file.replace(/\.json$/, '.png')
await sharp(Buffer.from(draw(document.runs, `held-out top-1, ${document.recipe}`)))
  .png()
  .toFile(image)
const table = comparisonMarkdown(compareRuns(document.runs))
const readme = readFileSync('README.md', 'utf8')
const [begin, end] = ['begin', 'end'].map((edge) => `<!-- ${document.recipe}:${edge} -->`) as [string, string]
const [from, to] = [readme.indexOf(begin), readme.indexOf(end)]
if (from < 0 || to < 0) throw new Error(`README.md has no place for the table: ${begin} and ${end}`)
writeFileSync('README.md', `${readme.slice(0, from)}${begin}\n${table}\n${readme.slice(to)}`)
console.log(`${image}\n${table}`)
