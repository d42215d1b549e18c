/** The cases of each phase, those that say most first; on the emulated device fewer and smaller ones of the same kinds. */
import { execFileSync } from 'node:child_process'
import type { Case } from './runner.js'

/** In the order in which they are worth running, and what each is for. */
export const phases = {
  smoke: 'does it run, is it right, one figure',
  tests: 'every kernel and every session test on the device',
  bench: 'steps of five networks, then PyTorch',
  sanitize: 'compute-sanitizer on our own kernels',
  profile: 'seconds by op beside the least they could take',
} as const
export type Phase = keyof typeof phases

const script = (name: string, limit: number, file: string, ...args: (string | number)[]): Case => ({
  ...{ name, limit },
  command: [process.execPath, '--import', 'tsx', `bench/gpu/${file}.ts`, ...args.map(String)],
})

/** Rounds, and steps of each. */
const gpuTurns = [3, 20] as const
const networks = {
  'DeiT-S': ['deit_small_patch16_224', 256, 224],
  'ResNet-50': ['resnet50', 256, 224],
  'VOLO-D1': ['volo_d1_224', 256, 224],
  'DeiT-Ti': ['deit_tiny_patch16_224', 256, 224],
  'VOLO-D2': ['volo_d2_224', 128, 224],
} as const
type Network = keyof typeof networks

/** Convolutions are fastest for PyTorch with channels last. */
const layoutOf = (network: Network) => (network === 'ResNet-50' ? '-channels-last' : '')
const step = (who: string, network: Network, precision: string) =>
  script(
    `${network} ${precision}, ${who === 'ours' ? who : `PyTorch ${who}`}`,
    who.startsWith('compile') ? 200 : 90,
    'step',
    ...[who, ...networks[network], 'cuda', precision, ...gpuTurns],
  )
const peer = (mode: 'eager' | 'compile', network: Network, precision: string) =>
  step(`${mode}${layoutOf(network)}`, network, precision)

const agree = (device: string, precision: string, steps: number) =>
  script(`agrees with the processor, ${precision}`, 90, 'agree', device, precision, steps)

/** Names of test files. */
function test(file: string): Case {
  return { name: file, limit: 120, command: [process.execPath, '--import', 'tsx', 'scripts/test.mjs', file] }
}
const deviceTests = () =>
  execFileSync(process.execPath, ['scripts/emulator.mjs', '--list'], { encoding: 'utf8' }).trim().split('\n')

/** Where ops and kernels are to be told from each other. */
const opByOp = (each: Case): Case => ({ ...each, env: { AUTOPROG_PROFILE: '1' } })
const sanitize = (device: string, tool: string, precision: string): Case =>
  opByOp(script(`${tool}, ${precision}`, 150, 'sanitize', tool, device, precision))

const onGpu: Record<Phase, () => Case[]> = {
  smoke: () => [
    script('the device opens', 60, 'device', 'cuda'),
    ...['fp32', 'bf16', 'fp16'].map((precision) => agree('cuda', precision, 3)),
    step('ours', 'DeiT-S', 'bf16'),
  ],
  // Hostile programs read what nobody has written, which the emulated device refuses once and for all.
  tests: () => [...deviceTests(), 'test/native/boundary.test.ts'].map(test),
  bench: () => [
    ...(Object.keys(networks) as Network[]).map((network) => step('ours', network, 'bf16')),
    ...(['DeiT-S', 'ResNet-50', 'VOLO-D1'] as const).map((network) => peer('eager', network, 'bf16')),
    ...(['DeiT-S', 'ResNet-50'] as const).map((network) => peer('compile', network, 'bf16')),
    ...(['DeiT-S', 'ResNet-50'] as const).flatMap((network) =>
      ['fp16', 'fp32'].flatMap((precision) => [step('ours', network, precision), peer('eager', network, precision)]),
    ),
    ...(['DeiT-Ti', 'VOLO-D2'] as const).map((network) => peer('eager', network, 'bf16')),
    ...(['VOLO-D1', 'DeiT-Ti', 'VOLO-D2'] as const).map((network) => peer('compile', network, 'bf16')),
  ],
  sanitize: () => [
    ...['bf16', 'fp32'].flatMap((precision) => [
      sanitize('cuda', 'memcheck', precision),
      sanitize('cuda', 'racecheck', precision),
    ]),
    sanitize('cuda', 'initcheck', 'bf16'),
  ],
  profile: () => [
    ...(['DeiT-S', 'ResNet-50', 'VOLO-D1', 'VOLO-D2'] as const).map((network) =>
      opByOp(script(`${network} bf16`, 60, 'profile', ...networks[network], 'cuda', 'bf16', 20)),
    ),
    ...(['DeiT-S', 'VOLO-D1'] as const).map((network) =>
      opByOp(script(`${network} bf16, hardware counters`, 120, 'counters', ...networks[network], 'cuda', 'bf16')),
    ),
  ],
}

const tiny = ['vit_micro', 4, 32] as const
const emulated = 'cuda-emulated'
const dry: Record<Phase, () => Case[]> = {
  smoke: () => [
    script('the device opens', 60, 'device', emulated),
    agree(emulated, 'bf16', 1),
    script('a step, ours', 120, 'step', 'ours', ...tiny, emulated, 'bf16', 1, 1),
  ],
  tests: () => ['test/ops/linear.test.ts', 'test/session/profile.test.ts', 'test/session/device.test.ts'].map(test),
  bench: () =>
    ['ours', 'eager'].map((who) => script(`a step, ${who}`, 120, 'step', who, ...tiny, emulated, 'fp32', 1, 1)),
  sanitize: () => [sanitize(emulated, 'memcheck', 'bf16')],
  profile: () => [
    opByOp(script('a step by op', 120, 'profile', ...tiny, emulated, 'bf16', 1)),
    opByOp(script('hardware counters', 120, 'counters', ...tiny, emulated, 'bf16')),
  ],
}

export const casesOf = (phase: Phase, device: string): Case[] => (device === 'cuda' ? onGpu : dry)[phase]()
