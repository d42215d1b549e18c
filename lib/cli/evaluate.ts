/** `autoprog evaluate`: held-out accuracy of a run's weights and of its averages. */
import type { Command } from 'commander'
import { percent, plural, small } from '../report/format.js'
import { table } from '../report/table.js'
import { lookOf } from '../report/terminal.js'
import { noticeText } from '../report/text.js'
import type { Accuracy } from '../training/evaluate.js'
import { type CommonOptions, createCommand, parseNumber, printResult } from './command.js'
import { createCounter } from './counter.js'
import { checkRun } from './run.js'

interface EvaluateOptions extends CommonOptions {
  data?: string
  resolution?: number
}

const example = 'autoprog evaluate runs/fashion-mnist-autoprog-0 --resolution 64'

export function evaluateCommand(): Command {
  return createCommand('evaluate', "held-out accuracy of a run's last checkpoint", example)
    .argument('<run>', 'run folder')
    .option('--data <data>', "dataset to evaluate on: its test half, or all of it (default: the run's)")
    .option('--resolution <pixels>', "image size (default: the run's)", parseNumber)
    .action(evaluateRun)
}

async function evaluateRun(run: string, options: EvaluateOptions): Promise<void> {
  checkRun(run)
  // Loaded late, so that help and a mistake on the command line need no addon.
  const { evaluate } = await import('../training/evaluate.js')
  const { data, resolution } = options
  const progress = createCounter(process.stderr, 'evaluating', 'image')
  const result = await evaluate(run, {
    onProgress: progress.show,
    ...(data === undefined ? {} : { data }),
    ...(resolution === undefined ? {} : { resolution }),
  }).finally(progress.clear)
  const row = (name: string, { top1, top5, loss }: Accuracy) => [name, percent(top1), percent(top5), small(loss)]
  const rows = [row('weights', result), ...result.emas.map((ema) => row(`average, decay ${ema.decay}`, ema))]
  const look = lookOf(process.stdout)
  const text = [
    ...result.notices.map((notice) => noticeText(notice, look)),
    `${plural(result.images, 'image')}, ${result.resolution} px`,
    table(['', 'top-1', 'top-5', 'loss'], rows, 1, look),
  ]
  printResult(options, { run, ...result }, text.join('\n'))
}
