/** `autoprog annotate`: label maps for token labelling, made by a trained network. */
import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { AutoprogError, expected } from '../errors.js'
import { wrap } from '../report/fit.js'
import { duration, integer, scaled } from '../report/format.js'
import { lookOf, printLine } from '../report/terminal.js'
import { noticeText } from '../report/text.js'
import type { WeightsName } from '../session/batch.js'
import { type CommonOptions, createCommand, parseNumber, printResult } from './command.js'
import { createCounter } from './counter.js'
import { listenForInterrupt } from './interrupt.js'

interface AnnotateCommandOptions extends CommonOptions {
  resolution?: number
  top?: number
  batch?: number
  weights?: string
  force?: boolean
}

const example = `autoprog annotate runs/own-images-autoprog-0 photos labels.safetensors
autoprog annotate runs/teacher photos labels.safetensors --weights ema3`

export function annotateCommand(): Command {
  return createCommand('annotate', 'label maps of the training images, for token labelling', example)
    .argument('<run>', 'folder of a finished run, or one of its checkpoints')
    .argument('<data>', 'dataset: a name, or the path of a folder or .tar')
    .argument('<out>', 'file to write; its name ends in .safetensors')
    .option('--resolution <pixels>', "image size (default: the run's)", parseNumber)
    .option('--top <classes>', 'classes kept at every position (default: 5)', parseNumber)
    .option('--batch <images>', "images of a batch (default: the run's of evaluation)", parseNumber)
    .option('--weights <copy>', 'model, or one of the averages: ema0, ema1, … (default: model)')
    .option('--force', 'write over an existing file')
    .action(annotateImages)
}

async function annotateImages(run: string, data: string, out: string, options: AnnotateCommandOptions): Promise<void> {
  if (!out.endsWith('.safetensors'))
    throw new AutoprogError('CONFIG', expected('a name that ends in .safetensors', 'the file to write', out))
  if (!options.force && existsSync(out))
    throw new AutoprogError('DATA', `${out} is there already`, { hint: 'add --force to write over it' })
  // Loaded late, so that help and a mistake on the command line need no addon.
  const { annotate } = await import('../training/annotate.js')
  const { resolution, top, batch, weights, force } = options
  const interrupt = listenForInterrupt(() =>
    printLine(process.stderr, 'stopping; the maps made so far are kept, and the same command goes on from there'),
  )
  const begun = performance.now()
  const progress = createCounter(process.stderr, 'annotating', 'image')
  try {
    const result = await annotate(run, data, out, {
      signal: interrupt.signal,
      onListing: createCounter(process.stderr, 'listing', 'file').show,
      onReading: createCounter(process.stderr, 'reading', 'image').show,
      onProgress: progress.show,
      ...(resolution === undefined ? {} : { resolution }),
      ...(top === undefined ? {} : { top }),
      ...(batch === undefined ? {} : { batch }),
      ...(weights === undefined ? {} : { weights: weights as WeightsName }),
      ...(force === undefined ? {} : { force }),
    })
    progress.clear()
    const seconds = (performance.now() - begun) / 1000
    const { images, resumedFrom, grid, bytes, notices } = result
    const kept = resumedFrom === 0 ? '' : ` (${integer(resumedFrom)} of them before)`
    const text = `${out}: label maps of ${integer(images)} training images${kept}, the best ${result.top} of ${result.classes} classes on ${grid} x ${grid}, ${scaled(bytes)}B, in ${duration(seconds)}`
    const look = lookOf(process.stdout)
    printResult(
      options,
      { labels: out, run, data, ...result, seconds },
      [...notices.map((notice) => noticeText(notice, look)), wrap(text, look.width)].join('\n'),
    )
  } catch (error) {
    progress.clear()
    const status = interrupt.status()
    if (status === undefined) throw error
    process.exitCode = status
  } finally {
    interrupt.release()
  }
}
