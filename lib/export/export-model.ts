/** A trained model in other formats. */
import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, extname, join, resolve } from 'node:path'
import { AutoprogError, expected } from '../errors.js'
import { makeFolder } from '../folder.js'
import { readTrained } from '../inference/trained-file.js'
import { writeModel } from '../models/model-file.js'
import { type ExportFormat, exportFormats } from './names.js'
import { checkExported } from './onnx/check.js'
import { exportOnnx } from './onnx/export-onnx.js'
import { writeTransformers } from './transformers.js'

export interface ExportOptions {
  /** What to write: by the ending of its name, .onnx or .safetensors, unless given. */
  format?: ExportFormat
  /** ONNX alone: take bytes (B, H, W, C) and normalise them in the graph. */
  withPreprocessing?: boolean
  /** ONNX alone: give probabilities instead of logits. */
  softmax?: boolean
  /** Write over what is there. */
  force?: boolean
}

export interface Exported {
  readonly path: string
  readonly format: ExportFormat
  readonly notices: readonly string[]
}

/**
 * Writes a trained model, a run's or a file, in another format: whole or not at all. Throws CHECKPOINT where there is no
 * model, CONFIG for what no format does, DATA where the output is there or cannot be written.
 */
export async function exportModel(model: string, out: string, options: ExportOptions = {}): Promise<Exported> {
  const { format = formatOf(out), withPreprocessing = false, softmax = false, force = false } = options
  if (!exportFormats.includes(format))
    throw new AutoprogError('CONFIG', expected(`one of ${exportFormats.join(', ')}`, 'format', format))
  if (format !== 'onnx' && (withPreprocessing || softmax))
    throw new AutoprogError('CONFIG', `Preprocessing and softmax are part of an ONNX graph, and of no ${format}`, {
      hint: 'leave them out, or export as onnx',
    })
  checkFree(out, force)
  const trained = await readTrained(model)
  await writing(out, async (place) => {
    if (format === 'transformers') return writeTransformers(place, trained)
    if (format === 'safetensors') return writeModel(place, trained.model, trained.weights, trained.description)
    const bytes = exportOnnx(trained.model, trained.weights, trained.description, {
      preprocessing: withPreprocessing,
      softmax,
    })
    checkExported(bytes)
    writeFileSync(place, bytes)
  })
  return { path: out, format, notices: trained.notices }
}

const endings = { '.onnx': 'onnx', '.safetensors': 'safetensors' } as const

function formatOf(out: string): ExportFormat {
  const ending = extname(out).toLowerCase()
  if (Object.hasOwn(endings, ending)) return endings[ending as keyof typeof endings]
  throw new AutoprogError('CONFIG', `The name ${out} does not say which format it is to have`, {
    hint: `end it in ${Object.keys(endings).join(' or ')}, or give the format (--format): ${exportFormats.join(', ')}`,
  })
}

function checkFree(out: string, force: boolean): void {
  if (!existsSync(out) || force) return
  throw new AutoprogError('DATA', `${out} is there already`, { hint: 'give another name, or --force to write over it' })
}

/** Makes something beside its place, and puts it there once it is whole. */
async function writing(out: string, make: (place: string) => void | Promise<void>): Promise<void> {
  let beside: string | undefined
  try {
    const folder = dirname(resolve(out))
    makeFolder(folder)
    beside = mkdtempSync(join(folder, `.${basename(out)}-`))
    const place = join(beside, basename(out))
    await make(place)
    if (existsSync(out)) rmSync(out, { recursive: true })
    renameSync(place, out)
  } catch (cause) {
    if (cause instanceof AutoprogError && cause.code !== 'CHECKPOINT') throw cause
    const hint = 'give a place that you may write to and that has room'
    throw new AutoprogError('DATA', `Cannot write ${out}: ${(cause as Error).message}`, { hint, cause })
  } finally {
    if (beside !== undefined) rmSync(beside, { recursive: true, force: true })
  }
}
