import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from '../serial.js'

const main = resolve('lib/cli/main.ts')
const folder = mkdtempSync(join(tmpdir(), 'autoprog-cli-'))

/** Runs the command line in an empty folder. */
function autoprog(...flags: string[]) {
  const loader = fileURLToPath(import.meta.resolve('tsx'))
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', loader, main, ...flags], {
    cwd: folder,
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}

test('every command has help with an example, and exits 0', (t) => {
  const { status, stdout } = autoprog('--help')
  t.is(status, 0)
  for (const command of [
    'train',
    'compare',
    'paper',
    'check',
    'pack',
    'annotate',
    'evaluate',
    'flops',
    'list',
    'doctor',
  ]) {
    t.regex(stdout, new RegExp(`^  ${command} `, 'm'))
    const help = autoprog(command, '--help')
    t.is(help.status, 0, help.stderr)
    t.regex(help.stdout, new RegExp(`Example:\n  npx autoprog ${command}`))
    t.regex(help.stdout, /--json/)
    t.is(autoprog('help', command).stdout, help.stdout)
    for (const line of help.stdout.split('\n')) t.true(line.length <= 80, line)
  }
  for (const line of stdout.split('\n')) t.true(line.length <= 80, line)
  t.is(autoprog('help').stdout, stdout)
  t.regex(autoprog('--version').stdout, /^\d+\.\d+\.\d+\n$/)
})

/** A mistake on the command line exits 2 and says on stderr what it is. */
const mistakes: [flags: string[], message: RegExp][] = [
  [[], /Usage: autoprog/],
  [['trian'], /unknown command 'trian'[\s\S]*Did you mean train/],
  [['help', 'trian'], /unknown command 'trian'[\s\S]*Did you mean train/],
  [['help', 'qqqqqq'], /unknown command 'qqqqqq'/],
  [['train', '--epoch', '3'], /unknown option '--epoch'[\s\S]*Did you mean --epochs/],
  [['train', '--epochs', 'ten'], /Expected a number, not "ten"/],
  [['train', '--epochs', ''], /Expected a number/],
  [['train', '--epochs'], /argument missing/],
  [['train', '--schedule', 'fast'], /Allowed choices are original, prog/],
  [['train', '--set', 'epochs'], /Expected key=value/],
  [['train', '--set', '=3'], /Expected key=value/],
  [['train', '--set', 'ema.decays=[0.9'], /Expected a YAML value/],
  [['train', 'mnist', 'fashion-mnist'], /too many arguments/],
  [['compare', 'mnist'], /nothing to compare a single recipe with: give --schemes/],
  [['compare', '--schemes', 'original'], /Give a recipe, or finished runs/],
  [['compare', 'mnist', '--schemes', 'original,autprog'], /no scheme autprog\. Did you mean autoprog\?/],
  [['compare', 'mnist', '--schemes', 'original', '--seeds', '0,x'], /Expected a number, not "x"/],
  [['compare', 'mnist', '--schemes', 'original,original-short'], /add autoprog to --schemes/],
  [['check'], /missing required argument 'data'/],
  [['annotate', 'run', 'data'], /missing required argument 'out'/],
  [['annotate', 'run', 'data', 'x.safetensors', '--top', 'five'], /Expected a number, not "five"/],
  [['evaluate'], /missing required argument 'run'/],
  [['evaluate', 'x', '--resolution', 'big'], /Expected a number/],
  [['flops', 'deit', '--schedule', '0.5,1/1'], /as many ratios/],
  [['flops', 'deit', '--schedule', '0.5,1'], /as many ratios/],
  [['doctor', 'me'], /too many arguments/],
]
for (const [flags, message] of mistakes) {
  test(`autoprog ${flags.map((flag) => flag || "''").join(' ')} exits 2`, (t) => {
    const { status, stdout, stderr } = autoprog(...flags)
    t.is(status, 2, stderr)
    t.regex(stderr, message)
    t.is(stdout, '')
  })
}

/** What is understood and fails exits 1, with code, message and hint and no stack. */
const failures: [flags: string[], message: RegExp][] = [
  [['train', 'fashon-mnist'], /error CONFIG: There is no recipe fashon-mnist\nhint: did you mean fashion-mnist\?/],
  [['train', '--epochs', '-1'], /error CONFIG: Expected a positive integer for epochs but received -1/],
  [['train', '--batch', '3'], /error CONFIG: Expected auto or an even integer of at least 2 for batch/],
  [['train', '--stages', '2.5'], /for schedule\.stages but received 2\.5/],
  [['train', '--precision', 'int8'], /error CONFIG: Expected one of fp32, bf16, fp16 for precision/],
  [['train', '--set', 'serch.batches=3'], /error CONFIG: Unknown key serch\nhint: did you mean search\?/],
  [
    ['train', '--set', 'learningRate.minimum=0.1'],
    /error CONFIG: .*Expected at most the peak, [\d.]+, for learningRate/,
  ],
  [['train', '--schedule', 'fixed'], /sub-?networks of a fixed schedule/],
  [
    ['train', 'empty'],
    /error CONFIG: Expected a recipe file .* but received "empty" \(string\)\nhint: did you mean --data empty\?/,
  ],
  [['train', 'photos.tar'], /hint: did you mean --data photos\.tar\?/],
  [
    ['train', '--model', 'vit_micro', '--resolution', '96'],
    /error CONFIG: Cannot set a resolution of 96 px for the model vit_micro\nhint: /,
  ],
  [['train', '--lr', '0'], /for optimizer\.learningRate but received 0/],
  [['train', '--workers', '0'], /for workers but received 0/],
  [['train', '--resume'], /error CHECKPOINT: There is no run to resume in runs\nhint: /],
  [['train', 'mnist', '--resume'], /error CHECKPOINT: There is no run to resume in runs\/mnist-autoprog-0\nhint: /],
  [['evaluate', 'runs/nope'], /error CHECKPOINT: There is no run runs\/nope\nhint: no runs are in runs\/\n/],
  [['train', '--resume', '--out', 'empty'], /error CHECKPOINT: There is no run to resume in empty/],
  [['train', '--out', 'taken'], /error CHECKPOINT: taken holds a run already\nhint: add --resume/],
  [['train', '--baseline', 'empty'], /error CHECKPOINT: Cannot read empty\/summary\.json/],
  [['train', '--baseline', 'autoprog'], /error CONFIG: Expected a run of the original scheme for --baseline/],
  [['compare', 'mnist', '--schemes', 'original', '--batch', '0'], /for batch but received 0/],
  [['compare', '--runs', 'autoprog,empty'], /error CHECKPOINT: There is no finished run in empty\nhint: /],
  [['check', 'mnist', '--sheet', 'x.gif'], /error CONFIG: Expected a file that ends in \.png for --sheet/],
  [['train', '--model', 'resnet19'], /error CONFIG: There is no model "resnet19" \(string\)\nhint: .*resnet18/],
  [['train', '--out', 'autoprog/summary.json/run'], /error CHECKPOINT: /],
  [['compare', '--runs', 'empty'], /error CHECKPOINT: There is no finished run in empty\nhint: /],
]
mkdirSync(join(folder, 'empty'))
mkdirSync(join(folder, 'taken', 'checkpoints'), { recursive: true })
writeFileSync(join(folder, 'taken', 'checkpoints', 'step-00000001.safetensors'), '')
mkdirSync(join(folder, 'autoprog'))
writeFileSync(join(folder, 'autoprog', 'summary.json'), '{"scheme":"autoprog"}')
for (const [flags, message] of failures) {
  test(`autoprog ${flags.join(' ')} exits 1`, (t) => {
    const { status, stdout, stderr } = autoprog(...flags)
    t.is(status, 1, stderr)
    t.regex(stderr, message)
    t.notRegex(stderr, /^ +at /m)
    t.is(stdout, '')
    t.deepEqual(readdirSync(folder).sort(), ['autoprog', 'empty', 'taken'], 'nothing is left behind')
  })
}

test('--debug adds the stack, --json a document', (t) => {
  t.regex(autoprog('train', 'nowhere', '--debug').stderr, /^ +at findRecipe/m)
  const { status, stdout, stderr } = autoprog('train', 'nowhere.yaml', '--json')
  t.is(status, 1)
  t.regex(stderr, /error CONFIG/)
  const { error } = JSON.parse(stdout) as { error: { code: string; message: string; hint: string } }
  t.is(error.code, 'CONFIG')
  t.regex(error.hint, /recipes in the package: cifar10-autoprog, .*fashion-mnist, mnist/)
})

test('flops counts a sub-network', (t) => {
  const { status, stdout } = autoprog('flops', 'deit_tiny_patch16_224', '--resolution', '96', '--depth', '5', '--json')
  t.is(status, 0)
  // golden/flops_more.json, DeiT-Tiny at ratio 0.4.
  const wanted = { depth: 5, resolution: 96, flops: 89966976, parameters: 2603368 }
  t.deepEqual(JSON.parse(stdout), { model: 'deit_tiny_patch16_224', ...wanted })
})

test('flops averages a schedule over its stages', (t) => {
  const ratios = '0.4,0.6,0.8,1/0.4,0.6,0.8,1'
  const { stdout } = autoprog('flops', 'deit_tiny_patch16_224', '--schedule', ratios, '--json')
  const { schedule } = JSON.parse(stdout) as {
    schedule: { stages: { depth: number; resolution: number; flops: number }[]; average: number; speedup: number }
  }
  const golden = JSON.parse(readFileSync(join(import.meta.dirname, '../golden/flops.json'), 'utf8')) as {
    rows: { model: string; depth: number; resolution: number; macs: number }[]
  }
  const sizes = [
    [5, 96],
    [7, 128],
    [10, 192],
    [12, 224],
  ] as const // golden/growth.json, "0.4 Omega" of DeiT
  const macs = sizes.map(
    ([depth, resolution]) =>
      golden.rows.find(
        (row) => row.model === 'deit_tiny_patch16_224' && row.depth === depth && row.resolution === resolution,
      )!.macs,
  )
  t.deepEqual(
    schedule.stages.map(({ depth, resolution, flops }) => [depth, resolution, flops]),
    sizes.map((size, stage) => [...size, macs[stage]]),
  )
  const average = macs.reduce((sum, value) => sum + value) / 4
  t.is(schedule.average, average)
  t.is(schedule.speedup, macs[3]! / average)
})

test('doctor says what it found, or what is missing and how to mend it', (t) => {
  const { status, stdout } = autoprog('doctor', '--json')
  const report = JSON.parse(stdout) as {
    machine: { node: string }
    device: { threads: number } | null
    cuda: string | null
    measured: Record<string, string>
    problems: { code: string; message: string }[]
  }
  t.is(report.machine.node, process.version)
  if (status === 0) {
    t.deepEqual(report.problems, [])
    t.true(report.device !== null && report.device.threads >= 1)
    t.regex(report.cuda ?? '', /^(found|none): /)
    t.regex(Object.values(report.measured).join(), /\d GFLOP\/s/)
  } else {
    t.is(status, 1)
    t.regex(report.problems[0]?.code ?? '', /^(BUILD|DEVICE)$/)
  }
})
