/** `autoprog evaluate`: held-out accuracy of a run's weights and of its averages. */
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import { printable } from '../errors.js'
import type { ClassFigures } from '../evaluation/metrics.js'
import { wrap } from '../report/fit.js'
import { integer, percent, plural, small } from '../report/format.js'
import { table } from '../report/table.js'
import { type Look, lookOf } from '../report/terminal.js'
import { noticeText } from '../report/text.js'
import type { Accuracy, EvaluateResult } from '../training/evaluate.js'
import { type CommonOptions, createCommand, parseNumber, printResult } from './command.js'
import { createCounter } from './counter.js'
import { checkRun } from './run.js'

interface EvaluateOptions extends CommonOptions {
  data?: string
  resolution?: number
  tta?: 'flip'
  report?: string
}

const example = 'autoprog evaluate runs/fashion-mnist-autoprog-0 --resolution 64'

export function evaluateCommand(): Command {
  return createCommand('evaluate', "held-out accuracy of a run's last checkpoint", example)
    .argument('<run>', 'run folder, one of its checkpoints, or a model file')
    .option('--data <data>', "dataset to evaluate on: its test half, or all of it (default: the run's)")
    .option('--resolution <pixels>', "image size (default: the run's)", parseNumber)
    .addOption(new Option('--tta <kind>', 'the mean over each image and its mirror image').choices(['flip']))
    .option('--report <folder>', 'write a page, index.html: classes, confusion, the pictures that are mistaken')
    .action(evaluateRun)
}

async function evaluateRun(run: string, options: EvaluateOptions): Promise<void> {
  checkRun(run)
  // Loaded late, so that help and a mistake on the command line need no addon.
  const { evaluate } = await import('../training/evaluate.js')
  const { data, resolution, tta, report } = options
  const progress = createCounter(process.stderr, 'evaluating', 'image')
  const result = await evaluate(run, {
    onProgress: progress.show,
    ...(data === undefined ? {} : { data }),
    ...(resolution === undefined ? {} : { resolution }),
    ...(tta === undefined ? {} : { tta }),
    ...(report === undefined ? {} : { report }),
  }).finally(progress.clear)
  const row = (name: string, { top1, top5, loss }: Accuracy) => [name, percent(top1), percent(top5), small(loss)]
  const rows = [row('weights', result), ...result.emas.map((ema) => row(`average, decay ${ema.decay}`, ema))]
  const look = lookOf(process.stdout)
  const text = [
    ...result.notices.map((notice) => noticeText(notice, look)),
    `${plural(result.images, 'image')}, ${result.resolution} px`,
    table(['', 'top-1', 'top-5', 'loss'], rows, 1, look),
    ...metricsText(result.best, look),
    ...(report === undefined ? [] : [wrap(`report: ${join(report, 'index.html')}`, look.width)]),
  ]
  printResult(options, { run, ...result }, text.join('\n'))
}

/** Classes are listed one by one up to this number; of more the worst. */
const [listedClasses, worstListed] = [40, 10]

/** Where the best weights fail. */
function metricsText(
  { average, classes, macro, confused, calibrationError }: EvaluateResult['best'],
  look: Look,
): string[] {
  const all = classes.length <= listedClasses
  const worst = [...classes].filter(({ support }) => support > 0).sort((a, b) => a.recall - b.recall)
  const listed = all ? classes : worst.slice(0, worstListed)
  const row = ({ name, support, precision, recall, f1 }: ClassFigures) => [
    ...[printable(name), integer(support)],
    ...[precision, recall, f1].map(percent),
  ]
  const means = ['mean', '', ...[macro.precision, macro.recall, macro.f1].map(percent)]
  const which = average === null ? 'the weights' : `the average of decay ${average}`
  const pairs = confused.slice(0, 5).map(({ truth, guess, images, share }) => {
    return `${printable(truth)} for ${printable(guess)}: ${plural(images, 'image')}, ${percent(share)}`
  })
  return [
    wrap(`${all ? 'by class' : `the ${listed.length} classes with the lowest recall`}, of ${which}:`, look.width),
    table(['class', 'images', 'precision', 'recall', 'F1'], [...listed.map(row), means], 1, look),
    ...(pairs.length === 0 ? [] : [wrap(`taken for another most often: ${pairs.join('; ')}`, look.width)]),
    wrap(`expected calibration error ${percent(calibrationError)}: how far confidence lies from accuracy`, look.width),
  ]
}
