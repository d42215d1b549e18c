/**
 * A short training under one of compute-sanitizer's tools:
 *   node --import tsx bench/gpu/sanitize.ts memcheck|racecheck|initcheck|synccheck DEVICE PRECISION
 * Only what it says of our own kernels counts: cuBLASLt's are not ours to mend. On the emulated device, which has checks of
 * its own, the training runs alone.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { skippedStatus } from './runner.js'

/** Part of every kernel's name, mangled or not: the namespace. */
export const ownKernels = 'autoprog'

export interface Findings {
  readonly own: string[]
  readonly others: number
}

/** Splits a log into reports, and tells those of our own kernels from others. Frames of the host say nothing of a kernel. */
export function readLog(log: string): Findings {
  const lines = log.split('\n').map((line) => line.replace(/^=========( |$)/, ''))
  const reports: string[][] = []
  for (const line of lines) {
    if (/^\S/.test(line)) reports.push([line])
    else if (line.trim() !== '') reports.at(-1)?.push(line)
  }
  const found = reports.filter(
    ([head]) =>
      /^(Invalid|Uninitialized|Misaligned|Error|Warning|Barrier|Divergent|Race)/i.test(head!) && !/SUMMARY/.test(head!),
  )
  const texts = found.map((report) => report.filter((line) => !/Host Frame|host backtrace/i.test(line)).join('\n'))
  const own = texts.filter((text) => text.includes(ownKernels))
  return { own, others: texts.length - own.length }
}

/** Writes of kernels that are not watched are not seen either, so that initcheck has to watch cuBLASLt's as well. */
const optionsOf = (tool: string) => [
  ...['--tool', tool, '--report-api-errors', 'no', '--print-limit', '1000'],
  ...(tool === 'initcheck' ? [] : ['--kernel-regex', `kns=${ownKernels}`]),
]

function main(): void {
  const [tool, device, precision] = process.argv.slice(2) as [string, string, string]
  const training = [process.execPath, '--import', 'tsx', 'bench/short-training.ts', device, precision, '1']
  const places = [
    ...(process.env.PATH ?? '').split(delimiter),
    '/usr/local/cuda/bin',
    '/usr/local/cuda/compute-sanitizer',
  ]
  const sanitizer = places.map((place) => join(place, 'compute-sanitizer')).find((path) => existsSync(path))
  if (device === 'cuda' && sanitizer === undefined) {
    console.log('compute-sanitizer is missing')
    process.exit(skippedStatus)
  }
  const folder = mkdtempSync(join(tmpdir(), 'autoprog-sanitize-'))
  const log = join(folder, 'log')
  const watched = device === 'cuda' ? [sanitizer!, ...optionsOf(tool), '--log-file', log, ...training] : training
  const { status, error } = spawnSync(watched[0]!, watched.slice(1), { stdio: ['ignore', 'inherit', 'inherit'] })
  const text = existsSync(log) ? readFileSync(log, 'utf8') : ''
  rmSync(folder, { recursive: true })
  const { own, others } = readLog(text)
  const end = text.split('\n').find((line) => line.includes('SUMMARY'))
  for (const report of own.slice(0, 5)) console.error(report)
  if (device === 'cuda' && status !== 0) console.error(text.slice(-3000))
  const said = end?.replace(/^=+ /, '') ?? (device === 'cuda' ? 'no summary' : 'without compute-sanitizer')
  console.log(
    JSON.stringify({
      summary: `${own.length} reports of our kernels, ${others} of others (${said})`,
      ...{ tool, precision, own: own.length, others, reports: own.slice(0, 20) },
    }),
  )
  // Without a summary the tool has not come to its end.
  process.exitCode = error || status !== 0 || own.length > 0 || (device === 'cuda' && end === undefined) ? 1 : 0
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
