/**
 * What the hardware counters say of our own kernels during a training step, by Nsight Compute:
 *   node --import tsx bench/gpu/counters.ts MODEL BATCH RESOLUTION DEVICE PRECISION
 * AUTOPROG_PROFILE has to be set: kernels are then launched one by one.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { skippedStatus } from './runner.js'
import { ownKernels } from './sanitize.js'

/** Nsight Compute's name of what is kept of each launch. */
const metrics = {
  nanoseconds: 'gpu__time_duration.sum',
  memoryPercent: 'dram__throughput.avg.pct_of_peak_sustained_elapsed',
  multiprocessorPercent: 'sm__throughput.avg.pct_of_peak_sustained_elapsed',
  warpsPercent: 'sm__warps_active.avg.pct_of_peak_sustained_active',
  registers: 'launch__registers_per_thread',
} as const
type Metric = keyof typeof metrics

export interface KernelCounters extends Readonly<Record<Metric, number>> {
  readonly kernel: string
  readonly launches: number
}

/** Means over the launches of each kernel, the dearest first, from a table of one launch a row, units in its second line. */
export function readCounters(csv: string): KernelCounters[] {
  const [head = [], , ...rows] = csv
    .split('\n')
    .filter((line) => line.startsWith('"'))
    .map((line) => [...line.matchAll(/"([^"]*)"/g)].map(([, field]) => field!))
  const column = (name: string) => head.indexOf(name)
  const sums = new Map<string, { launches: number } & Record<Metric, number>>()
  for (const row of rows) {
    const kernel = row[column('Kernel Name')]!
    const sum = sums.get(kernel) ?? {
      ...{ launches: 0, nanoseconds: 0, memoryPercent: 0, multiprocessorPercent: 0, warpsPercent: 0, registers: 0 },
    }
    sum.launches++
    for (const [key, name] of Object.entries(metrics))
      sum[key as Metric] += Number(row[column(name)]!.replaceAll(',', ''))
    sums.set(kernel, sum)
  }
  return [...sums]
    .sort(([, a], [, b]) => b.nanoseconds - a.nanoseconds)
    .map(([kernel, { launches, ...sum }]) => ({
      ...{ kernel, launches },
      ...(Object.fromEntries(Object.entries(sum).map(([key, value]) => [key, value / launches])) as Record<
        Metric,
        number
      >),
    }))
}

function main(): void {
  const step = process.argv.slice(2)
  const places = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/cuda/bin']
  const ncu = places.map((place) => join(place, 'ncu')).find((path) => existsSync(path))
  if (ncu === undefined) {
    console.log('ncu, Nsight Compute, is missing')
    process.exit(skippedStatus)
  }
  const folder = mkdtempSync(join(tmpdir(), 'autoprog-counters-'))
  const log = join(folder, 'log')
  const { status } = spawnSync(
    ncu,
    [
      // The card is measured as it is found. A step has some hundreds of launches; the first ones choose algorithms.
      ...['--clock-control', 'none', '--launch-skip', '600', '--launch-count', '300'],
      ...['--kernel-name-base', 'demangled', '--kernel-name', `regex:${ownKernels}`],
      ...[
        '--metrics',
        Object.values(metrics).join(),
        '--print-units',
        'base',
        '--page',
        'raw',
        '--csv',
        '--log-file',
        log,
      ],
      ...[process.execPath, '--import', 'tsx', 'bench/step-worker.ts', ...step],
    ],
    { input: 'warm\nend\n', stdio: ['pipe', 'inherit', 'inherit'] },
  )
  const text = existsSync(log) ? readFileSync(log, 'utf8') : ''
  rmSync(folder, { recursive: true })
  const kernels = readCounters(text)
  if (status !== 0 || kernels.length === 0) {
    console.error(text.slice(-3000))
    process.exit(1)
  }
  const dearest = kernels
    .slice(0, 3)
    .map(({ kernel, memoryPercent }) => `${kernel.slice(0, 60)} at ${memoryPercent.toFixed(0)} % of the memory's speed`)
  console.log(JSON.stringify({ summary: `${kernels.length} kernels: ${dearest.join('; ')}`, kernels }))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
