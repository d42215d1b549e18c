/** `autoprog export`: a trained model in a format that other tools read. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import { type ExportFormat, exportFormats } from '../export/names.js'
import { scaled } from '../report/format.js'
import { lookOf } from '../report/terminal.js'
import { noticeText } from '../report/text.js'
import { type CommonOptions, createCommand, printResult } from './command.js'

interface ExportOptions extends CommonOptions {
  format?: ExportFormat
  withPreprocessing?: boolean
  softmax?: boolean
  force?: boolean
}

const example = `autoprog export runs/own-images-autoprog-0 model.onnx
autoprog export runs/own-images-autoprog-0 model.onnx --with-preprocessing --softmax
autoprog export best.safetensors pets --format transformers   # for transformers.js`

export function exportCommand(): Command {
  return createCommand('export', 'a trained model in a format that other tools read', example)
    .argument('<model>', "a run's folder (its best weights), or a model file")
    .argument('<out>', 'the file, or with transformers the folder, to write')
    .addOption(
      new Option('--format <format>', 'what to write (default: by the ending of its name)').choices(exportFormats),
    )
    .option('--with-preprocessing', 'ONNX: take bytes (B, H, W, C) of images at their final size, and normalise them')
    .option('--softmax', 'ONNX: give probabilities instead of logits')
    .option('--force', 'write over what is there')
    .action(exportTo)
}

async function exportTo(model: string, out: string, options: ExportOptions): Promise<void> {
  // Loaded late, so that help and a mistake on the command line need no addon.
  const { exportModel } = await import('../export/export-model.js')
  const { withPreprocessing, softmax, force } = options
  const { path, format, notices } = await exportModel(model, out, {
    ...(options.format && { format: options.format }),
    ...(withPreprocessing && { withPreprocessing }),
    ...(softmax && { softmax }),
    ...(force && { force }),
  })
  const file = format === 'transformers' ? join(path, 'onnx', 'model.onnx') : path
  const bytes = statSync(file).size
  const look = lookOf(process.stdout)
  const text = [...notices.map((notice) => noticeText(notice, look)), `${path}: ${format}, ${scaled(bytes)}B`]
  printResult(options, { out: path, format, bytes, notices }, text.join('\n'))
}
