/** `autoprog doctor`: what was found on this machine, and what it manages. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { AutoprogError } from '../errors.js'
import type { Device } from '../native.js'
import { packageRoot, packageVersion } from '../package.js'
import { describeMachine } from '../report/machine.js'
import { table } from '../report/table.js'
import { lookOf } from '../report/terminal.js'
import { type CommonOptions, createCommand, failureText, printResult } from './command.js'

interface Problem {
  code: string
  message: string
  hint: string | null
}

export function doctorCommand(): Command {
  return createCommand(
    'doctor',
    'what was found: Node, addon, CPU, CUDA or why not; measures a GEMM and a training step',
    'autoprog doctor --json',
  ).action(doctor)
}

async function doctor(options: CommonOptions): Promise<void> {
  const problems: Problem[] = []
  const machine = { autoprog: packageVersion(), ...describeMachine() }
  let device: object | null = null
  let cuda: string | null = null
  let jpeg: string | null = null
  let measured: Record<string, string> = {}
  try {
    // Loaded late, so that a missing addon is a finding and not a failure of the command line.
    const { addon, openDevice } = await import('../native.js')
    jpeg = addon().jpegDecoder() || 'none: photos are decoded whole, by sharp, at half the speed'
    const opened = await openDevice('auto')
    const { kind, threads, features } = opened
    device = { kind, threads, ...features }
    measured = await measure(opened).finally(opened.close)
    cuda = await openDevice('cuda').then(
      (found) => found.close().then(() => `found: ${found.name}`),
      (error) => `none: ${whyNoCuda(toProblem(error).message)}`,
    )
  } catch (error) {
    problems.push(toProblem(error))
  }
  const rows = Object.entries({ ...lines(machine), ...lines({ device, cuda, jpeg }), ...measured })
  const look = lookOf(process.stdout)
  const complaints = problems.map((problem) => failureText(problem, look))
  const text = [table(['what', 'found'], rows, 2, look), ...complaints].join('\n')
  printResult(options, { machine, device, cuda, jpeg, measured, problems }, text)
  if (problems.length > 0) process.exitCode = 1
}

/** What the engine says, and where it was built without CUDA what its build found missing. */
export function whyNoCuda(message: string, root = packageRoot()): string {
  const file = join(root, 'build', 'install.json')
  if (!existsSync(file)) return message
  const { cuda } = JSON.parse(readFileSync(file, 'utf8')) as { cuda: string | null }
  return cuda === null || !/no CUDA backend/i.test(message) ? message : cuda
}

/** What the device manages: the best of a few, since a busy machine only ever makes work slower. */
async function measure(device: Device): Promise<Record<string, string>> {
  const n = 1024
  const gemm = await device.measureGemm(n, n, n)
  const batch = 8
  const step = await measureStep(device, batch)
  return {
    // A product of n x n matrices is 2 n^3 operations.
    [`GEMM ${n} x ${n} x ${n}, fp32`]: `${((2 * n ** 3) / gemm / 1e9).toFixed(1)} GFLOP/s`,
    [`training step, DeiT-Tiny, 224 px, batch ${batch}, fp32`]: `${(batch / step).toFixed(1)} images/s`,
  }
}

/** Seconds of a training step, forward to optimizer, on noise. */
async function measureStep(device: Device, batch: number): Promise<number> {
  const { createSession } = await import('../session/session.js')
  const { createModel } = await import('../models/registry.js')
  const model = createModel('deit_tiny_patch16_224')
  const session = await createSession({ device, model })
  const shape = [batch, model.imageSize, model.imageSize, model.channels] as const
  const data = Uint8Array.from(
    { length: shape.reduce((product, size) => product * size) },
    (_, index) => (index * 97) % 256,
  )
  const targets = Int32Array.from({ length: batch }, (_, index) => index)
  let best = Number.POSITIVE_INFINITY
  try {
    for (let repeat = 0; repeat < 4; repeat++) {
      const start = performance.now()
      await session.step({ images: { data, shape }, targets, learningRate: 1e-3 })
      best = Math.min(best, (performance.now() - start) / 1000)
    }
  } finally {
    await session.close()
  }
  return best
}

/** A report as names and texts, nested names joined by dots. */
function lines(report: object, prefix = ''): Record<string, string> {
  const entries = Object.entries(report).flatMap(([key, value]: [string, unknown]) =>
    value !== null && typeof value === 'object'
      ? Object.entries(lines(value, `${prefix}${key}.`))
      : [[`${prefix}${key}`, value === null ? 'unknown' : String(value)] as const],
  )
  return Object.fromEntries(entries)
}

function toProblem(error: unknown): Problem {
  const message = error instanceof Error ? error.message : String(error)
  return error instanceof AutoprogError
    ? { code: error.code, message, hint: error.hint ?? null }
    : { code: 'INTERNAL', message, hint: null }
}
