/**
 * One phase of scripts/gpu-check, which prepares what this needs:
 *   node --import tsx bench/gpu/check.ts PHASE DEVICE SECONDS FOLDER [COPY]
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Phase } from './cases.js'
import { casesOf, phases } from './cases.js'
import { runCases } from './runner.js'

const [phase, device, seconds, folder, copy] = process.argv.slice(2) as [Phase, string, string, string, string?]

/** The addon and all that runs on it. */
function codeOf(): string {
  const hash = createHash('sha256').update(readFileSync(process.env.AUTOPROG_ADDON!))
  for (const root of ['lib', 'bench', 'datasets', 'test', 'scripts'])
    for (const path of readdirSync(root, { recursive: true, encoding: 'utf8' }).sort())
      if (/\.(m?[jt]s|py)$/.test(path)) hash.update(readFileSync(join(root, path)))
  return hash.digest('hex').slice(0, 16)
}

// What it has started ends with it.
for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const)
  process.on(signal, () => process.exit(status))

console.log(`== ${phase}: ${phases[phase]}`)
const { cases, left } = await runCases({
  ...{ phase, cases: casesOf(phase, device), code: codeOf(), folder, seconds: Number(seconds) },
  ...(copy !== undefined && { copy }),
  together: phase === 'tests' && device === 'cuda' ? 4 : 1,
})
const count = (status: string) => cases.filter((outcome) => outcome.status === status).length
console.log(`${count('passed')} passed, ${count('failed')} failed, ${count('skipped')} skipped, ${left.length} left`)
process.exitCode = count('failed') > 0 || count('passed') === 0 ? 1 : left.length > 0 ? 3 : 0
