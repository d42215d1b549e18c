/** `autoprog pack`: puts a dataset into one file that is read and decoded faster. */
import { existsSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { AutoprogError, expected } from '../errors.js'
import { wrap } from '../report/fit.js'
import { duration, integer, scaled } from '../report/format.js'
import { lookOf, printLine } from '../report/terminal.js'
import { noticeText } from '../report/text.js'
import { type CommonOptions, createCommand, parseNumber, printResult } from './command.js'
import { createCounter } from './counter.js'
import { listenForInterrupt } from './interrupt.js'

interface PackCommandOptions extends CommonOptions {
  maxSize?: number
  quality?: number
  raw?: boolean
  force?: boolean
}

const example = `autoprog pack photos photos.pack
autoprog pack fashion-mnist fashion-mnist.pack --raw`

export function packCommand(): Command {
  return createCommand('pack', 'puts a dataset, decoded once and made smaller, into one file', example)
    .argument('<data>', 'dataset: a name, or the path of a folder or .tar')
    .argument('<out>', 'file to write; its name ends in .pack')
    .option('--max-size <pixels>', 'longer side of an image at most (default: 288)', parseNumber)
    .option('--quality <n>', 'of the JPEG files, 1 to 100 (default: 90)', parseNumber)
    .addOption(new Option('--raw', 'store pixels instead of JPEG files').conflicts('quality'))
    .option('--force', 'write over an existing file')
    .action(pack)
}

async function pack(data: string, out: string, options: PackCommandOptions): Promise<void> {
  if (!out.endsWith('.pack')) {
    const hint = 'datasets are told apart by it when they are loaded'
    throw new AutoprogError('CONFIG', expected('a name that ends in .pack', 'the file to write', out), { hint })
  }
  if (!options.force && existsSync(out)) {
    throw new AutoprogError('DATA', `${out} is there already`, { hint: 'add --force to write over it' })
  }
  const { loadDataset } = await import('../../datasets/index.js')
  const { packDataset } = await import('../data/source/packing.js')
  const interrupt = listenForInterrupt(() => printLine(process.stderr, 'stopping; nothing is kept'))
  const { signal } = interrupt
  const begun = performance.now()
  try {
    const dataset = await loadDataset(data, {
      signal,
      onListing: createCounter(process.stderr, 'listing', 'file').show,
      onProgress: createCounter(process.stderr, 'reading', 'image').show,
    })
    const { train, test, classes, channels } = dataset
    const { maxSize, quality, raw } = options
    const { bytes, notices } = await packDataset(dataset, out, {
      ...(maxSize === undefined ? {} : { maxSize }),
      ...(quality === undefined ? {} : { quality }),
      ...(raw === undefined ? {} : { raw }),
      signal,
      onProgress: createCounter(process.stderr, 'packing', 'image').show,
    }).finally(dataset.close)
    const seconds = (performance.now() - begun) / 1000
    const counts = { trainImages: train.length, testImages: test.length }
    const document = { pack: out, data: dataset.name, classes, channels, ...counts, bytes, seconds, notices }
    const text = `${out}: ${integer(train.length)} training images, ${integer(test.length)} held out, ${classes.length} classes, ${scaled(bytes)}B, in ${duration(seconds)}`
    const look = lookOf(process.stdout)
    printResult(
      options,
      document,
      [...notices.map((notice) => noticeText(notice, look)), wrap(text, look.width)].join('\n'),
    )
  } catch (error) {
    const status = interrupt.status()
    if (status === undefined) throw error
    process.exitCode = status
  } finally {
    interrupt.release()
  }
}
