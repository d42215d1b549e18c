/** What nvcc's assembler reports of kernels (-Xptxas -v), by names that do not depend on where they were compiled. */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'

/** [registers of a thread, bytes of static shared memory, bytes of stack, bytes spilled] */
export type Figures = readonly [registers: number, shared: number, stack: number, spilled: number]
/** Kernel -> architecture (sm_90) -> figures. */
export type Report = Map<string, Map<string, Figures>>

const entry =
  /Compiling entry function '(\w+)' for '(sm_\w+)'\n.*\n\s*(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\n.*Used (\d+) registers(?:.*?, (\d+) bytes smem)?/g

export function readReport(text: string): Report {
  const found = [...text.matchAll(entry)]
  const readable = readableNames(found.map(([, name]) => name!))
  const report: Report = new Map()
  for (const [index, [, , architecture, stack, stores, loads, registers, shared = '0']] of found.entries()) {
    const name = readable[index]!
    const figures = report.get(name) ?? new Map<string, Figures>()
    figures.set(architecture!, [Number(registers), Number(shared), Number(stack), Number(stores) + Number(loads)])
    report.set(name, figures)
  }
  return new Map([...report].sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** Without namespaces, parameters and the result: `tiledAttentionKernel<__half, 64>`. */
function readableNames(mangled: readonly string[]): string[] {
  if (mangled.length === 0) return []
  const { stdout, error } = spawnSync('c++filt', { input: mangled.join('\n'), encoding: 'utf8', maxBuffer: 2 ** 28 })
  if (error) throw error
  return stdout
    .trimEnd()
    .split('\n')
    .map((name) =>
      withoutParameters(name.replace(/\(anonymous namespace\)::|autoprog::cuda::/g, '').replace(/^void /, '')),
    )
}

/** Up to the parenthesis that is inside no other bracket. */
function withoutParameters(name: string): string {
  let depth = 0
  for (let i = 0; i < name.length; i++) {
    if (name[i] === '(' && depth === 0) return name.slice(0, i)
    if ('<('.includes(name[i]!)) depth++
    if ('>)'.includes(name[i]!)) depth--
  }
  return name
}

/** A line a kernel, so that a change is seen in a diff. */
export function writeFigures(path: string, compiler: string, report: Report): void {
  const kernels = [...report].map(
    ([kernel, figures]) => `    ${JSON.stringify(kernel)}: ${JSON.stringify(Object.fromEntries(figures))}`,
  )
  const head = JSON.stringify({ compiler, figures: ['registers', 'sharedBytes', 'stackBytes', 'spilledBytes'] })
  writeFileSync(path, `${head.slice(0, -1)}, "kernels": {\n${kernels.join(',\n')}\n}}\n`)
}

export function readFigures(path: string): { compiler: string; kernels: Report } {
  const { compiler, kernels } = JSON.parse(readFileSync(path, 'utf8')) as {
    compiler: string
    kernels: Record<string, Record<string, Figures>>
  }
  const entries = Object.entries(kernels).map(
    ([kernel, figures]) => [kernel, new Map(Object.entries(figures))] as const,
  )
  return { compiler, kernels: new Map(entries) }
}

/** Of a multiprocessor: registers, and bytes of shared memory by architecture. */
const registersOfAll = 65536
const sharedOfAll: Readonly<Record<string, number>> = {
  ...{ sm_80: 164, sm_90: 228, sm_100: 228, sm_120: 100 },
}

/** Blocks that a multiprocessor holds at a time; a warp takes registers in pieces of 256, a block a KiB of shared memory more. */
export function blocksOf([registers]: Figures, architecture: string, threads: number, sharedBytes: number): number {
  const byRegisters = Math.floor(registersOfAll / ((threads / 32) * Math.ceil((32 * registers) / 256) * 256))
  return Math.min(byRegisters, Math.floor((sharedOfAll[architecture]! * 1024) / (sharedBytes + 1024)))
}
