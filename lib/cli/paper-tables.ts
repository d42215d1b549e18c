/**
 * Tables II to IX of the paper (Li et al., CVPR 2022, supplement): for each row what is trained, and the paper's figures.
 *
 * Rows of several tables may be one run, by its name. A row's own settings are what it is about and hold in any case; its
 * epochs and all else give way to the command line, so that a table can be tried small.
 */
import type { Config } from '../recipe/config.js'

export interface PaperRun {
  /** Of its folder, without the seed. */
  readonly name: string
  /** A recipe of the package. */
  readonly recipe: string
  readonly scheme: Config['schedule']['kind']
  readonly epochs: number
  readonly set: Readonly<Record<string, unknown>>
  /** The row whose finished run gives the schedule of a fixed one. */
  readonly retrain?: string
}

/** As printed in the paper: percentages, 1e9 multiply-adds, gains in per cent, hours. */
export interface PaperFigures {
  readonly top1?: number
  readonly top1At288?: number
  readonly flops?: number
  readonly theoretical?: number
  readonly practical?: number
  readonly hours?: number
  readonly schedule?: { readonly l: readonly number[]; readonly n: readonly number[] }
}

export interface PaperRow {
  readonly name: string
  readonly run: PaperRun
  /** The row that its speed-ups are against. */
  readonly baseline: string
  readonly paper: PaperFigures
}

export interface PaperTable {
  readonly title: string
  readonly rows: readonly PaperRow[]
}

type Settings = Readonly<Record<string, unknown>>

function plan(model: string, scheme: PaperRun['scheme'], epochs: number, set: Settings, suffix = ''): PaperRun {
  return { name: `${model}-${scheme}${suffix}-${epochs}`, recipe: `${model}-imagenet`, scheme, epochs, set }
}
const original = (model: string, epochs = 100) => plan(model, 'original', epochs, {})
const prog = (model: string) => plan(model, 'prog', 100, { 'schedule.ratio': 0.5 })
const autoprog = (model: string, epochs = 100, ratio = 0.5) =>
  plan(model, 'autoprog', epochs, { 'schedule.ratio': ratio }, `-${ratio}`)
/** Four stages are everyone's. */
const staged = (ratio: number, stages: number) => {
  const suffix = stages === 4 ? `-${ratio}` : `-${ratio}-${stages}-stages`
  return plan('volo-d1', 'autoprog', 100, { 'schedule.ratio': ratio, 'schedule.stages': stages }, suffix)
}
const precise = ({ name, ...run }: PaperRun, precision: string): PaperRun => ({
  ...run,
  name: `${name}-${precision}`,
  set: { ...run.set, precision },
})
const fixed = (model: string, epochs: number, { l, n }: Schedule) =>
  plan(model, 'fixed', epochs, { 'schedule.subnetworks': l.map((ratio, stage) => ({ l: ratio, n: n[stage]! })) })

type Schedule = NonNullable<PaperFigures['schedule']>

/** Table VII. */
const found: Record<'d1' | 'd2', Schedule> = {
  d1: { l: [0.4, 1, 1, 1], n: [0.4, 0.6, 0.6, 1] },
  d2: { l: [0.83, 1, 1, 1], n: [0.5, 0.67, 0.83, 1] },
}

/** Rows of one baseline, which is the first. */
function against(rows: readonly (readonly [name: string, run: PaperRun, paper: PaperFigures])[]): PaperRow[] {
  return rows.map(([name, run, paper]) => ({ name, run, baseline: rows[0]![0], paper }))
}

const d1 = 'volo-d1'
const small = autoprog(d1, 100, 0.4)

export const paperTables = {
  II: {
    title: 'efficient training on ImageNet',
    rows: [
      ...against([
        ['DeiT-S', original('deit-small'), { flops: 4.6, hours: 71, top1: 74.1, top1At288: 74.6 }],
        [
          'DeiT-S, Prog',
          prog('deit-small'),
          { flops: 2.4, theoretical: 91.6, hours: 46, practical: 53.6, top1: 72.6, top1At288: 73.2 },
        ],
        [
          'DeiT-S, AutoProg',
          autoprog('deit-small'),
          { flops: 2.8, theoretical: 62.0, hours: 50, practical: 40.7, top1: 74.4, top1At288: 74.9 },
        ],
      ]),
      ...against([
        ['VOLO-D1', original(d1), { flops: 6.8, hours: 150, top1: 82.6, top1At288: 83.0 }],
        [
          'VOLO-D1, Prog',
          prog(d1),
          { flops: 3.7, theoretical: 84.7, hours: 93, practical: 60.9, top1: 81.7, top1At288: 82.1 },
        ],
        [
          'VOLO-D1, AutoProg 0.5 Ω',
          autoprog(d1),
          { flops: 3.3, theoretical: 104.2, hours: 91, practical: 65.6, top1: 82.8, top1At288: 83.2 },
        ],
        [
          'VOLO-D1, AutoProg 0.4 Ω',
          small,
          { flops: 2.9, theoretical: 132.2, hours: 81, practical: 85.1, top1: 82.7, top1At288: 83.1 },
        ],
      ]),
      ...against([
        ['VOLO-D2', original('volo-d2'), { flops: 14.1, hours: 277, top1: 83.6, top1At288: 84.1 }],
        [
          'VOLO-D2, Prog',
          prog('volo-d2'),
          { flops: 7.5, theoretical: 87.7, hours: 180, practical: 54.4, top1: 82.9, top1At288: 83.3 },
        ],
        [
          'VOLO-D2, AutoProg',
          autoprog('volo-d2'),
          { flops: 8.3, theoretical: 68.7, hours: 191, practical: 45.3, top1: 83.8, top1At288: 84.2 },
        ],
      ]),
      ...long(
        'DeiT-Tiny',
        'deit-tiny',
        { flops: 1.2, hours: 144, top1: 72.2, top1At288: 72.9 },
        {
          ...{ flops: 0.7, theoretical: 82.1, hours: 95, practical: 51.2, top1: 72.4, top1At288: 73.0 },
        },
      ),
      ...long(
        'DeiT-S',
        'deit-small',
        { flops: 4.6, hours: 213, top1: 79.8, top1At288: 80.1 },
        {
          ...{ flops: 2.8, theoretical: 62.0, hours: 150, practical: 42.0, top1: 79.8, top1At288: 80.1 },
        },
      ),
      ...long(
        'VOLO-D1',
        d1,
        { flops: 6.8, hours: 487, top1: 84.2, top1At288: 84.4 },
        {
          ...{ flops: 4.0, theoretical: 68.9, hours: 327, practical: 48.9, top1: 84.3, top1At288: 84.6 },
        },
      ),
      ...long(
        'VOLO-D2',
        'volo-d2',
        { flops: 14.1, hours: 863, top1: 85.2, top1At288: 85.1 },
        {
          ...{ flops: 8.8, theoretical: 60.7, hours: 605, practical: 42.7, top1: 85.2, top1At288: 85.2 },
        },
      ),
    ],
  },
  III: {
    title: 'comparison with progressive stacking, VOLO-D1',
    rows: against([
      ['Baseline', original(d1), { hours: 150.2, top1: 82.6 }],
      ['ProgStack', plan(d1, 'progstack', 100, {}), { hours: 135.3, practical: 11.0, top1: 82.2 }],
      [
        'ProgStack + MoGrow',
        plan(d1, 'progstack', 100, { 'schedule.operator': 'mogrow' }, '-mogrow'),
        { hours: 136.0, practical: 10.4, top1: 82.5 },
      ],
      ['Prog', prog(d1), { hours: 93.3, practical: 60.9, top1: 81.7 }],
      ['AutoProg 0.4 Ω', small, { hours: 81.1, practical: 85.1, top1: 82.7 }],
    ]),
  },
  IV: {
    title: 'combination with mixed precision (AMP), VOLO-D1',
    rows: [
      ...against([
        ['Original', precise(original(d1), 'fp32'), { top1: 82.6 }],
        ['AMP', precise(original(d1), 'fp16'), { practical: 74.0, top1: 82.6 }],
        ['AutoProg', precise(small, 'fp32'), { practical: 87.5, top1: 82.7 }],
        ['AMP + AutoProg', precise(small, 'fp16'), { practical: 222.1, top1: 82.7 }],
      ]),
      { name: 'AMP + AutoProg over AMP', run: precise(small, 'fp16'), baseline: 'AMP', paper: { practical: 85.1 } },
    ],
  },
  V: {
    title: 'number of stages, VOLO-D1',
    rows: against([
      ['Original', original(d1), { top1: 82.6 }],
      ['0.5 Ω, 3 stages', staged(0.5, 3), { practical: 69.1, top1: 82.6 }],
      ['0.5 Ω, 4 stages', staged(0.5, 4), { practical: 65.6, top1: 82.8 }],
      ['0.5 Ω, 5 stages', staged(0.5, 5), { practical: 63.6, top1: 82.8 }],
      ['0.5 Ω, 50 stages', staged(0.5, 50), { practical: 48.5, top1: 81.7 }],
      ['0.4 Ω, 3 stages', staged(0.4, 3), { practical: 90.8, top1: 82.4 }],
      ['0.4 Ω, 4 stages', staged(0.4, 4), { practical: 85.1, top1: 82.7 }],
      ['0.4 Ω, 5 stages', staged(0.4, 5), { practical: 80.4, top1: 82.7 }],
    ]),
  },
  VI: {
    title: 'effect of progressive learning, VOLO-D1',
    rows: against([
      ['Original', original(d1), { top1: 82.6 }],
      ['Supernet', plan(d1, 'supernet', 100, { 'schedule.ratio': 0.5 }), { practical: 48.5, top1: 81.7 }],
      ['AutoProg', autoprog(d1), { practical: 65.6, top1: 82.8 }],
    ]),
  },
  VII: {
    title: "searched growth schedules, and training by the paper's",
    rows: [
      ...against([
        ['VOLO-D1', original(d1), { flops: 6.8 }],
        ['VOLO-D1, AutoProg 0.4 Ω', small, { flops: 2.9, theoretical: 132.2, practical: 85.1, schedule: found.d1 }],
        ["VOLO-D1, the paper's schedule", fixed(d1, 100, found.d1), { schedule: found.d1 }],
      ]),
      ...against([
        ['VOLO-D2, 300 epochs', original('volo-d2', 300), { flops: 14.1 }],
        [
          'VOLO-D2, 300 epochs, AutoProg',
          autoprog('volo-d2', 300),
          { flops: 8.8, theoretical: 60.7, practical: 42.7, schedule: found.d2 },
        ],
        ["VOLO-D2, 300 epochs, the paper's schedule", fixed('volo-d2', 300, found.d2), { schedule: found.d2 }],
      ]),
    ],
  },
  VIII: {
    title: 'retraining with the searched schedule, VOLO-D1',
    rows: against([
      ['Baseline', original(d1), { hours: 150.2, top1: 82.6 }],
      ['AutoProg 0.4 Ω', small, { hours: 81.1, practical: 85.1, top1: 82.7 }],
      [
        'Retrain',
        { ...plan(d1, 'fixed', 100, {}, '-retrain'), retrain: 'AutoProg 0.4 Ω' },
        { hours: 81.4, practical: 84.5, top1: 82.7 },
      ],
    ]),
  },
  IX: {
    title: 'ResNet-50, by the schedule searched on VOLO-D2 (table VII)',
    rows: against([
      ['Original', original('resnet50'), { top1: 77.3 }],
      ['AutoProg', fixed('resnet50', 100, found.d2), { practical: 56.9, top1: 77.3 }],
    ]),
  },
} satisfies Record<string, PaperTable>

export type PaperTableName = keyof typeof paperTables

/** Ordinary training and AutoProg for 300 epochs. */
function long(name: string, model: string, full: PaperFigures, found: PaperFigures): PaperRow[] {
  return against([
    [`${name}, 300 epochs`, original(model, 300), full],
    [`${name}, 300 epochs, AutoProg`, autoprog(model, 300), found],
  ])
}

/** The rows whose names hold a text, whatever its case, and those that they need; all without one. */
export function selectRows({ rows }: PaperTable, text = ''): PaperRow[] {
  const named = rows.filter(({ name }) => name.toLowerCase().includes(text.toLowerCase()))
  const needed = new Set(named.flatMap(({ name, baseline, run }) => [name, baseline, run.retrain]))
  for (const row of rows) if (needed.has(row.name)) needed.add(row.baseline)
  return rows.filter(({ name }) => needed.has(name))
}
