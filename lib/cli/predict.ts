/** `autoprog predict`: what a trained model takes images for. */
import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { AutoprogError, expected, printable } from '../errors.js'
import type { PredictedImage } from '../inference/predict.js'
import { percent, plural } from '../report/format.js'
import { printLine } from '../report/terminal.js'
import { type CommonOptions, createCommand, parseNumber, printNotices, printResult } from './command.js'
import { createCounter } from './counter.js'

interface PredictOptions extends CommonOptions {
  csv?: boolean
  top: number
  threshold: number
  batch: number
  device: string
  sortInto?: string
  link?: boolean
}

const example = `autoprog predict runs/own-images-autoprog-0 photo.jpg
autoprog predict best.safetensors photos 'more/**/*.png' --top 3
autoprog predict best.safetensors photos --csv > guesses.csv
curl -s https://example.org/cat.jpg | autoprog predict best.safetensors -
autoprog predict best.safetensors inbox --sort-into sorted --threshold 0.9`

export function predictCommand(): Command {
  return createCommand('predict', 'what a trained model takes images for', example)
    .argument('<model>', "a run's folder (its best weights), or a model file")
    .argument('<images...>', 'image files, folders, patterns, .tar archives, - for one image on standard input')
    .option('--top <k>', 'guesses an image', parseNumber, 1)
    .option('--threshold <p>', 'leave out guesses of a lower probability', parseNumber, 0)
    .option('--csv', 'print a table of comma-separated values, with a head')
    .option('--batch <n>', 'images computed together at most', parseNumber, 32)
    .option('--device <d>', 'auto, cpu, cuda or cuda:N', 'auto')
    .option('--sort-into <folder>', 'copy each image into a folder of its class; nothing is written over')
    .option('--link', 'with --sort-into: make links instead of copies')
    .action(predict)
}

async function predict(path: string, names: string[], options: PredictOptions): Promise<void> {
  const { top, threshold, batch, device, json, csv, sortInto: folder, link = false } = options
  if (!Number.isSafeInteger(top) || top < 1)
    throw new AutoprogError('CONFIG', expected('a positive integer', '--top', top))
  if (!(threshold >= 0 && threshold <= 1))
    throw new AutoprogError('CONFIG', expected('a number from 0 to 1', '--threshold', threshold))
  // Loaded late, so that help and a mistake on the command line need no addon.
  const [{ openModel }, { findImages }, { predictAll }, { sortInto }] = await Promise.all([
    import('../inference/open-model.js'),
    import('../inference/inputs.js'),
    import('../inference/predict.js'),
    import('../inference/sort-into.js'),
  ])
  const found = await findImages(names)
  try {
    const model = await openModel(path, { device, batch })
    try {
      printNotices(process.stderr, [...model.notices, ...found.notices])
      const counter = createCounter(process.stderr, 'predicting', 'image')
      const rows: ReturnType<typeof rowOf>[] = []
      const [shown, broken] = [Math.min(top, model.classes.length), { count: 0 }]
      const print = (line: string) => {
        counter.clear()
        printLine(process.stdout, line)
      }
      if (csv) print(csvHead(shown))
      let done = 0
      for await (const predicted of predictAll(model, found.images, { top, ahead: 4 * batch })) {
        const predictions = predicted.predictions.filter(({ probability }) => probability >= threshold)
        const [first] = predictions
        if (predicted.error !== undefined) broken.count++
        const sorted =
          folder === undefined || first === undefined
            ? undefined
            : await sortInto(
                folder,
                {
                  file: existsSync(predicted.image) ? predicted.image : undefined,
                  ...{ bytes: predicted.bytes!, name: predicted.image, label: first.label },
                },
                link,
              )
        const row = rowOf({ ...predicted, predictions }, sorted)
        if (json) rows.push(row)
        else print(csv ? csvRow(row, shown) : textOf(row, found.images.length === 1))
        counter.show(++done, found.images.length)
      }
      counter.clear()
      const { classes, description } = model
      if (json) printResult(options, { model: path, name: description.name, classes, images: rows }, '')
      if (broken.count > 0) {
        process.exitCode = 1
        printLine(process.stderr, `${plural(broken.count, 'image')} of ${found.images.length} could not be read`)
      }
    } finally {
      await model.close()
    }
  } finally {
    await found.close()
  }
}

function rowOf({ image, predictions, error }: PredictedImage, sorted: string | undefined) {
  const { code, message, hint = null } = error ?? {}
  return {
    image,
    predictions,
    ...(error && { error: { code, message, hint } }),
    ...(sorted !== undefined && { sorted }),
  }
}
type Row = ReturnType<typeof rowOf>

function textOf({ image, predictions, error, sorted }: Row, alone: boolean): string {
  if (error) return `${printable(image)}: ${error.message}`
  const guesses = predictions.map(({ label, probability }) => `${printable(label)} ${percent(probability)}`)
  if (alone && guesses.length > 1) return guesses.join('\n')
  const said = guesses.join(', ') || 'nothing as likely as that'
  return `${printable(image)}: ${said}${sorted === undefined ? '' : ` → ${printable(sorted)}`}`
}

const csvHead = (top: number) =>
  ['image', 'error', ...Array.from({ length: top }, (_, i) => [`label_${i + 1}`, `probability_${i + 1}`]).flat()].join(
    ',',
  )

function csvRow({ image, predictions, error }: Row, top: number): string {
  const guesses = Array.from({ length: top }, (_, i) => predictions[i])
  const cells = guesses.flatMap((guess) => (guess ? [guess.label, String(guess.probability)] : ['', '']))
  return [image, error?.message ?? '', ...cells].map(csvCell).join(',')
}

/** As RFC 4180 has it. */
const csvCell = (text: string) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)
