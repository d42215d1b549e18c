/**
 * Draws a comparison, and puts its table into docs/results.md where that has a place for it:
 *   node --import tsx bench/plot.ts docs/results/fashion-mnist.json
 * The curves come from the run folders named in the file, and are kept in it, so that it can be drawn again without them.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import sharp from 'sharp'
import type { ComparedRun } from '../lib/report/comparison.js'
import { compareRuns, comparisonMarkdown } from '../lib/report/comparison.js'
import { readEvents } from '../lib/report/run-folder.js'
import { drawChart, type Point } from './chart.js'

type Run = ComparedRun & { folder: string; curve?: Point[] }

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

const [file] = process.argv.slice(2)
if (file === undefined) throw new Error('Give the JSON file of a comparison, such as docs/results/fashion-mnist.json')
const document = JSON.parse(readFileSync(file, 'utf8')) as { recipe: string; runs: Run[] }
const runs = document.runs.map((run) => ({ ...run, curve: curveOf(run), folder: basename(run.folder) }))
const seeds = new Set(runs.map(({ seed }) => seed)).size
const svg = drawChart(
  runs,
  `held-out top-1, ${document.recipe}${seeds > 1 ? `, mean and range of ${seeds} seeds` : ''}`,
)
writeFileSync(file, `${JSON.stringify({ ...document, runs }, null, 2)}\n`)
const image = file.replace(/\.json$/, '.png')
await sharp(Buffer.from(svg)).png().toFile(image)
const table = comparisonMarkdown(compareRuns(runs))
console.log(`${image}\n${table}`)

const page = 'docs/results.md'
const text = existsSync(page) ? readFileSync(page, 'utf8') : ''
const [begin, end] = ['begin', 'end'].map((edge) => `<!-- ${document.recipe}:${edge} -->`) as [string, string]
const [from, to] = [text.indexOf(begin), text.indexOf(end)]
if (from >= 0 && to > from) writeFileSync(page, `${text.slice(0, from)}${begin}\n${table}\n${text.slice(to)}`)
